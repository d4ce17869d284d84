"""Two well-known sample databases in shape, with rows of our own: Chinook and Northwind.

Their names, quoting styles and declared types are what many tools were tested on. Money is NUMERIC, so whole
amounts are stored as integers and others as reals, as SQLite does; every other column has one storage class.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from data_samples import build, texts

Row = tuple[object, ...]

HERE = Path(__file__).resolve().parent


def _moment(rng: random.Random, first_year: int, days: int) -> str:
    """A moment 'YYYY-MM-DD HH:MM:SS' within `days` days from the start of `first_year`."""
    day = date(first_year, 1, 1) + timedelta(days=int(rng.random() * days))
    hour, minute, second = (int(rng.random() * limit) for limit in (24, 60, 60))
    return f"{day} {hour:02d}:{minute:02d}:{second:02d}"


def _money(rng: random.Random, most: int) -> float:
    """A price in whole cents below `most`; a third of them without cents, which NUMERIC stores as integers."""
    return float(int(rng.random() * most)) if rng.random() < 0.34 else round(rng.random() * most, 2)


def chinook(
    path: str | Path, *, scale: int = 1, seed: int = 1, journal: build.Journal = "delete", force: bool = False
) -> dict[str, int]:
    """Write a media shop in the shape of Chinook; `scale` 1 is about 15,000 rows. Gives rows per table.

    Raises:
        FileExistsError: `path` exists and `force` is false, or a journal lies beside it.
        FileNotFoundError: the folder does not exist.
    """
    rng = random.Random(seed)
    artists, albums, tracks, customers = 275 * scale, 347 * scale, 3503 * scale, 59 * scale
    employees, genres, playlists, invoices = 8 * scale, 25, 18 * scale, 412 * scale
    with build.new_database(path, journal=journal, force=force) as connection:
        for statement in build.statements((HERE / "chinook.sql").read_text(encoding="utf-8")):
            connection.execute(statement)

        def person() -> tuple[str, str]:
            return rng.choice(texts.FIRST_NAMES), rng.choice(texts.LAST_NAMES)

        prices = [_price(number) for number in range(1, tracks + 1)]
        streams: dict[str, Iterator[Row]] = {
            "Artist": ((n, f"{rng.choice(texts.LAST_NAMES)} & {n}") for n in range(1, artists + 1)),
            "Album": (
                (n, f"{rng.choice(texts.TITLES)} {n}", 1 + int(rng.random() * artists)) for n in range(1, albums + 1)
            ),
            "Employee": (
                (
                    n,
                    *reversed(person()),
                    rng.choice(("Verkauf", "IT Staff", "Général Manager")),
                    None if n == 1 else n // 2,
                    _moment(rng, 1960, 9000)[:10] + " 00:00:00",
                    _moment(rng, 2002, 900)[:10] + " 00:00:00",
                    f"employee{n}@example.org",
                )
                for n in range(1, employees + 1)
            ),
            "Customer": (
                (
                    n,
                    *person(),
                    None if n % 5 else "Größe & Söhne GmbH",
                    None if n % 7 == 0 else f"{n % 100_000:05d}",
                    f"{rng.choice(texts.EMAIL_NAMES)}{n}@example.org",
                    None if n % 9 == 0 else 1 + n % employees,
                )
                for n in range(1, customers + 1)
            ),
            "Genre": ((n, f"Genre {n}" if n > 1 else "Rock ’n’ Roll") for n in range(1, genres + 1)),
            "Track": (
                (
                    n,
                    f"{rng.choice(texts.TITLES)} №{n}",
                    1 + int(rng.random() * albums),
                    1 + int(rng.random() * genres),
                    None if rng.random() < 0.3 else " / ".join(person()),
                    60_000 + int(rng.random() * 300_000),
                    1_000_000 + int(rng.random() * 9_000_000),
                    prices[n - 1],
                )
                for n in range(1, tracks + 1)
            ),
            "Playlist": ((n, None if n == 3 else f"Liste {n}") for n in range(1, playlists + 1)),
            "PlaylistTrack": (
                (1 + (n - 1) % playlists, 1 + (n * 13 + n // playlists) % tracks) for n in range(1, playlists * 400 + 1)
            ),
            "Invoice": (
                (
                    n,
                    1 + n % customers,
                    _moment(rng, 2009, 1800),
                    rng.choice(texts.CITIES)[0],
                    round(sum(prices[track - 1] for track in _basket(n, tracks)), 2),
                )
                for n in range(1, invoices + 1)
            ),
            "InvoiceLine": (
                ((n - 1) * 5 + line, n, track, prices[track - 1], 1)
                for n in range(1, invoices + 1)
                for line, track in enumerate(_basket(n, tracks), start=1)
            ),
        }
        for table, stream in streams.items():
            build.insert(connection, table, stream)
        return build.row_counts(connection)


def _price(track: int) -> float:
    return (0.99, 0.99, 1.99, 1.0, 0.99)[track % 5]


def _basket(invoice: int, tracks: int) -> list[int]:
    """Tracks of an invoice, one to five."""
    return [1 + (invoice * 17 + 3 * line) % tracks for line in range(1 + invoice % 5)]


def northwind(
    path: str | Path, *, scale: int = 1, seed: int = 1, journal: build.Journal = "delete", force: bool = False
) -> dict[str, int]:
    """Write a trading company in the shape of Northwind; `scale` 1 is about 3,300 rows. Gives rows per table.

    Raises:
        FileExistsError: `path` exists and `force` is false, or a journal lies beside it.
        FileNotFoundError: the folder does not exist.
    """
    rng = random.Random(seed)
    customers, employees, products, orders = 91 * scale, 9 * scale, 77 * scale, 830 * scale
    categories, territories = 8, 53

    def customer(number: int) -> str:
        """A key of five letters or more, in no order: ALFKI and its like."""
        return "".join(chr(65 + number * step % 26) for step in (7, 11, 3)) + f"{number:02d}"

    def picture() -> bytes:
        # The original's pictures are bitmaps behind an OLE header.
        return b"\x15\x1c\x2f\x00\x02\x00\x00\x00BM" + rng.randbytes(200 + int(rng.random() * 8000))

    with build.new_database(path, journal=journal, force=force) as connection:
        for statement in build.statements((HERE / "northwind.sql").read_text(encoding="utf-8")):
            connection.execute(statement)
        streams: dict[str, Iterator[Row]] = {
            "Categories": (
                (n, f"Kategorie {n}", rng.choice(texts.DESCRIPTIONS), picture()) for n in range(1, categories + 1)
            ),
            "Customers": (
                (
                    customer(n),
                    f"{rng.choice(texts.LAST_NAMES)} & Söhne",
                    rng.choice(texts.FIRST_NAMES),
                    *rng.choice(texts.CITIES)[:2],
                    None if n % 6 == 0 else f"(0){n}-555.{n:04d}",
                )
                for n in range(1, customers + 1)
            ),
            "Employees": (
                (
                    n,
                    rng.choice(texts.LAST_NAMES),
                    rng.choice(texts.FIRST_NAMES),
                    _moment(rng, 1948, 7000)[:10],
                    _moment(rng, 1992, 900)[:10],
                    picture(),
                    rng.choice(texts.DESCRIPTIONS),
                    None if n == 2 else 2 if n < 6 else 5,
                )
                for n in range(1, employees + 1)
            ),
            "Territories": ((f"{n * 1871:05d}", f"Gebiet {n}   ") for n in range(1, territories + 1)),
            "EmployeeTerritories": ((n % employees + 1, f"{n * 1871:05d}") for n in range(1, territories + 1)),
            "Products": (
                (
                    n,
                    f"{rng.choice(texts.FEATURES)} {n}",
                    1 + n % categories,
                    _money(rng, 260),
                    int(rng.random() * 125),
                    "1" if n % 10 == 0 else "0",
                )
                for n in range(1, products + 1)
            ),
            "Orders": (
                (
                    10_247 + n,
                    customer(1 + n % customers),
                    1 + int(rng.random() * employees),
                    _moment(rng, 2016, 680),
                    None if rng.random() < 0.03 else _moment(rng, 2018, 30),
                    _money(rng, 900),
                    rng.choice(texts.LAST_NAMES),
                )
                for n in range(1, orders + 1)
            ),
            "Order Details": (
                (
                    10_247 + n,
                    1 + (n * 5 + line * 7) % products,
                    _money(rng, 260),
                    1 + int(rng.random() * 120),
                    rng.choice((0.0, 0.05, 0.1, 0.15, 0.2, 0.25)),
                )
                for n in range(1, orders + 1)
                for line in range(1 + n % 4)
            ),
        }
        for table, stream in streams.items():
            build.insert(connection, table, stream)
        return build.row_counts(connection)
