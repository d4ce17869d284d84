"""Other well-known shapes: `python data_samples/shapes.py SHAPE PATH [--seed N] [--OPTION N …]`.

chinook and northwind are described in stores.py. The rest are shapes that break tools by size or encoding:
many tables, a wide table, UTF-16 files, and the three million rows the benchmarks read.
"""

from __future__ import annotations

import argparse
import inspect
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:
    # Run as a script, only this folder is on the path, not the one that holds `data_samples`.
    sys.path.append(str(HERE.parent))

from data_samples import build, texts  # noqa: E402
from data_samples.stores import chinook, northwind  # noqa: E402

__all__ = ["SHAPES", "bench_table", "chinook", "many_tables", "northwind", "utf16", "wide_table"]

Row = tuple[object, ...]


def many_tables(
    path: str | Path, *, tables: int = 200, rows: int = 50, seed: int = 1, force: bool = False
) -> dict[str, int]:
    """Write `tables` tables of `rows` rows, each but the first with a foreign key to the one before it."""
    rng = random.Random(seed)
    with build.new_database(path, force=force) as connection:
        for number in range(tables):
            parent = f" REFERENCES t{number - 1:04d}(id)" if number else ""
            connection.execute(
                f"CREATE TABLE t{number:04d} (id INTEGER PRIMARY KEY, parent_id INTEGER{parent}, "
                "name TEXT NOT NULL, amount REAL, made DATETIME DEFAULT CURRENT_TIMESTAMP)"
            )
            build.insert(
                connection,
                f"t{number:04d}",
                (
                    (
                        row,
                        row if number else None,
                        f"{rng.choice(texts.FIRST_NAMES)} {row}",
                        None if row % 7 == 0 else round(rng.random() * 1000, 3),
                        f"2024-{row % 12 + 1:02d}-{row % 28 + 1:02d} 12:{row % 60:02d}:{number % 60:02d}",
                    )
                    for row in range(1, rows + 1)
                ),
            )
            connection.execute(f"CREATE INDEX idx_t{number:04d}_parent ON t{number:04d}(parent_id)")
        return build.row_counts(connection)


_WIDE: tuple[tuple[str, Callable[[random.Random, int], object]], ...] = (
    ("INTEGER", lambda rng, row: rng.getrandbits(62) - 2**61),
    ("REAL", lambda rng, row: rng.random() * 10.0 ** (row % 40 - 20)),
    ("TEXT", lambda rng, row: rng.choice(texts.DESCRIPTIONS)),
    ("DATETIME", lambda rng, row: f"20{row % 30:02d}-{row % 12 + 1:02d}-{row % 28 + 1:02d} 23:59:{row % 60:02d}"),
    ("BOOLEAN", lambda rng, row: row % 2),
    ("BLOB", lambda rng, row: rng.randbytes(row % 33)),
    ("DECIMAL(12,3)", lambda rng, row: round(rng.random() * 1e6, 3)),
    ("DATE", lambda rng, row: f"19{row % 100:02d}-{row % 12 + 1:02d}-{row % 28 + 1:02d}"),
    ("VARCHAR(20)", lambda rng, row: rng.choice(texts.LAST_NAMES)),
    ("SMALLINT", lambda rng, row: row % 65_536 - 32_768),
    ("CHAR(2)", lambda rng, row: rng.choice(("DE", "CH", "JP"))),
    ("", lambda rng, row: None),  # a column without a type in which nobody ever wrote
)


def wide_table(
    path: str | Path, *, columns: int = 100, rows: int = 500, seed: int = 1, force: bool = False
) -> dict[str, int]:
    """Write one table `wide` of `columns` columns beside its id, all types in turn, a fifth of the values NULL.

    Raises:
        ValueError: more columns than SQLite takes by default.
    """
    if not 1 <= columns <= 1998:
        raise ValueError(f"{columns} columns; SQLite takes 1 to 1998 beside the key")
    rng = random.Random(seed)
    kinds = [_WIDE[number % len(_WIDE)] for number in range(columns)]
    declared = ", ".join(f"c{number:04d} {kind}".rstrip() for number, (kind, _) in enumerate(kinds))
    with build.new_database(path, force=force) as connection:
        connection.execute(f"CREATE TABLE wide (id INTEGER PRIMARY KEY, {declared})")
        build.insert(
            connection,
            "wide",
            (
                (row, *(None if rng.random() < 0.2 else make(rng, row) for _, make in kinds))
                for row in range(1, rows + 1)
            ),
        )
        return build.row_counts(connection)


def utf16(
    path: str | Path, *, encoding: str = "UTF-16le", rows: int = 300, seed: int = 1, force: bool = False
) -> dict[str, int]:
    """Write a UTF-16 file: a dictionary with text keys, and remarks that refer to it.

    The keys start with characters on both sides of the surrogates, U+FF01 and U+1F3E0: their order in
    UTF-16 code units is not their order in UTF-8 or in COLLATE "C".

    Raises:
        ValueError: `encoding` is none of SQLite's.
    """
    rng = random.Random(seed)
    starts = ("a", "Z", "é", "e\u0301", "ß", "я", "語", "！", "🏠", "𝛑", "\ue000")
    with build.new_database(path, force=force, encoding=encoding) as connection:
        connection.execute("CREATE TABLE words (word TEXT PRIMARY KEY, meaning TEXT NOT NULL, uses INTEGER)")
        connection.execute(
            "CREATE TABLE remarks (id INTEGER PRIMARY KEY AUTOINCREMENT, "
            "word TEXT REFERENCES words(word) ON DELETE CASCADE, body TEXT)"
        )
        words = [f"{starts[number % len(starts)]}{number}" for number in range(rows)]
        build.insert(
            connection, "words", ((word, rng.choice(texts.DESCRIPTIONS), int(rng.random() * 99)) for word in words)
        )
        build.insert(
            connection,
            "remarks",
            ((number, rng.choice(words), rng.choice(texts.NOTES)) for number in range(1, rows + 1)),
        )
        connection.execute("CREATE INDEX idx_remarks_word ON remarks(word)")
        return build.row_counts(connection)


def bench_table(path: str | Path, *, rows: int = 3_000_000, seed: int = 1, force: bool = False) -> dict[str, int]:
    """Write the one table of the benchmarks, `big`: eight columns, one of each type that is copied differently."""
    with build.new_database(path, force=force) as connection:
        connection.execute(
            "CREATE TABLE big (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, m INTEGER, r REAL, s TEXT, "
            "made DATETIME NOT NULL, flag BOOLEAN NOT NULL, b BLOB)"
        )
        build.insert(connection, "big", _bench_rows(random.Random(seed), rows))
        return build.row_counts(connection)


def _bench_rows(rng: random.Random, rows: int) -> Iterator[Row]:
    """Rows of `big`: one draw per row picks from pools of prime length, which costs less than making each value."""
    rnd, bits = rng.random, rng.getrandbits
    words = [f"{rng.choice(texts.FIRST_NAMES)} {rng.choice(texts.STREETS)} {n}" for n in range(1009)]
    words[0] = ""
    blobs = [rng.randbytes(n % 24) for n in range(997)]
    days = [f"20{n // 336:02d}-{n // 28 % 12 + 1:02d}-{n % 28 + 1:02d}T" for n in range(25 * 336)]
    clock = [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}Z" for s in range(86_400)]
    for row in range(1, rows + 1):
        draw = bits(40)
        yield (
            row,
            draw - 2**39,
            None if draw % 10 == 0 else draw % 100_000,
            None if draw % 11 == 0 else rnd() * 1e6 - 5e5,
            None if draw % 13 == 0 else words[draw % 1009],
            days[row * 8400 // (rows + 1)] + clock[draw % 86_400],
            draw & 1,
            None if draw % 17 == 0 else blobs[draw % 997],
        )


SHAPES: dict[str, Callable[..., dict[str, int]]] = {
    "chinook": chinook,
    "northwind": northwind,
    "many-tables": many_tables,
    "wide-table": wide_table,
    "utf16": utf16,
    "bench-table": bench_table,
}


def main(arguments: list[str] | None = None) -> int:
    """Command line; each shape's options are the keyword arguments of its function."""
    parser = argparse.ArgumentParser(description="Make a SQLite file of a well-known shape.")
    commands = parser.add_subparsers(dest="shape", required=True)
    for name, make in SHAPES.items():
        command = commands.add_parser(name, help=(make.__doc__ or "").partition("\n")[0].replace("%", "%%"))
        command.add_argument("path", type=Path)
        for option in inspect.signature(make).parameters.values():
            if option.name == "path":
                continue
            if option.default is False:
                command.add_argument(f"--{option.name}", action="store_true")
            else:
                command.add_argument(f"--{option.name}", type=type(option.default), default=option.default)
    given = vars(parser.parse_args(arguments))
    shape, path = given.pop("shape"), given.pop("path")
    try:
        counts = SHAPES[shape](path, **given)
    except (ValueError, FileExistsError, FileNotFoundError) as problem:
        parser.error(str(problem))
    sys.stdout.write(build.summary(path, counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
