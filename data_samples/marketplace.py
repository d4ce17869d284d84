"""Rows of the sample marketplace, one function per table, each a stream with a fixed order and a fixed clock.

A row is a function of its number and of the seeded generator alone. What another table needs to know of it
(the tenant of a lease, the rent of a unit) is a function of the number only, so nothing has to be remembered
and a million rows take no more memory than a thousand.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import cache

from data_samples import texts
from data_samples.sizes import INTEGRATIONS, MIGRATIONS, Sizes, rent_of

Row = tuple[object, ...]

FIRST_DAY = date(2021, 1, 1)
HISTORY_DAYS = 1600
"""Days that the history covers; contracts reach up to three years beyond it."""

_PNG = b"\x89PNG\r\n\x1a\n"


@cache
def _days() -> tuple[str, ...]:
    return tuple((FIRST_DAY + timedelta(days=n)).isoformat() for n in range(HISTORY_DAYS + 1100))


@cache
def _clock() -> tuple[str, ...]:
    return tuple(f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400))


def _day(number: int, of: int) -> int:
    """Day of the `number`-th of `of` rows, counted from FIRST_DAY: time goes by as numbers grow."""
    return min(number * HISTORY_DAYS // of, HISTORY_DAYS - 1)


def _plain(day: int, rnd: Callable[[], float]) -> str:
    """A moment as CURRENT_TIMESTAMP and datetime('now') write it."""
    return f"{_days()[day]} {_clock()[int(rnd() * 86_400)]}"


def _iso(day: int, rnd: Callable[[], float]) -> str:
    """A moment as JavaScript's Date.toISOString() writes it."""
    return f"{_days()[day]}T{_clock()[int(rnd() * 86_400)]}.{int(rnd() * 1000):03d}Z"


def _json(value: object) -> str:
    """Text of a value as JSON.stringify writes it: no blanks, no escapes beyond those needed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def users(rng: random.Random, sizes: Sizes, count: int) -> Iterator[Row]:
    """Users 1 … count: an administrator, landlords, tenants; some were invited by an earlier user."""
    rnd = rng.random
    for number in range(1, count + 1):
        first = int(rnd() * len(texts.FIRST_NAMES))
        name = f"{texts.FIRST_NAMES[first]} {rng.choice(texts.LAST_NAMES)}"
        email = f"{texts.EMAIL_NAMES[first]}.{number}@example.org"
        if number in (3, 4):
            # NOCASE folds ASCII only: these two are different addresses and must stay two.
            email = ("Élodie@example.org", "élodie@example.org")[number - 3]
        role = "admin" if number == 1 else "landlord" if number <= sizes.landlords + 1 else "tenant"
        day = _day(number, count)
        yield (
            number,
            email,
            f"$2b$10${rng.getrandbits(128):032x}",
            name,
            None if rnd() < 0.3 else f"+49 30 0{int(rnd() * 1e6):06d}",
            role,
            int(rnd() < 0.8),
            None if rnd() < 0.1 else int(rnd() < 0.5),
            _json({"lang": rng.choice(("de", "en", "pl")), "dark": rnd() < 0.5, "name": name}),
            1 + int(rnd() * (number - 1)) if number > 5 and rnd() < 0.25 else None,
            None if rnd() < 0.2 else _iso(min(day + int(rnd() * 90), HISTORY_DAYS - 1), rnd),
            _plain(day, rnd),
            None,
        )


def properties(rng: random.Random, sizes: Sizes, count: int) -> Iterator[Row]:
    """Listings of the landlords."""
    rnd = rng.random
    for number in range(1, count + 1):
        city, postal_code, country = rng.choice(texts.CITIES)
        located = rnd() < 0.85
        day = _day(number, count)
        yield (
            number,
            _uuid(rng),
            2 + number % sizes.landlords,
            f"objekt-{number}",
            rng.choice(texts.TITLES),
            texts.DESCRIPTIONS[number % len(texts.DESCRIPTIONS)],
            f"{rng.choice(texts.STREETS)} {1 + int(rnd() * 120)}",
            postal_code,
            city,
            country,
            round(47 + rnd() * 8, 6) if located else None,
            round(6 + rnd() * 9, 6) if located else None,
            None
            if rnd() < 0.2
            else _json({"built": 1890 + int(rnd() * 130), "features": rng.sample(texts.FEATURES, 2)}),
            int(rnd() < 0.9),
            _plain(day, rnd),
            _plain(min(day + int(rnd() * 200), HISTORY_DAYS - 1), rnd),
        )


def units(rng: random.Random, sizes: Sizes, count: int) -> Iterator[Row]:
    """Flats and rooms, dealt to the properties in turn."""
    rnd = rng.random
    for number in range(1, count + 1):
        yield (
            number,
            (number - 1) % sizes.properties + 1,
            f"{('WE', 'Zi.', 'Stellplatz №')[number % 3]} {number}",
            None if rnd() < 0.1 else int(rnd() * 9) - 1,
            1 + int(rnd() * 5),
            round(12 + rnd() * 130, 1),
            rent_of(number),
            int(rnd() < 0.4),
            _plain(_day(number, count), rnd),
        )


def leases(rng: random.Random, sizes: Sizes, count: int) -> Iterator[Row]:
    """Contracts; only the last one of a unit can be active."""
    rnd = rng.random
    for number in range(1, count + 1):
        unit = sizes.unit_of(number)
        start = _day(number, count)
        if number + sizes.units > sizes.leases:
            status = "active" if rnd() < 0.85 else "draft"
        else:
            status = "ended" if rnd() < 0.8 else "terminated"
        open_ended = status == "active" and rnd() < 0.7
        yield (
            number,
            unit,
            sizes.tenant_of(number),
            status,
            _days()[start],
            None if open_ended else _days()[start + 90 + int(rnd() * 900)],
            rent_of(unit),
            rent_of(unit) * 3,
            None if rnd() < 0.5 else _json({"notice_months": 3, "pets": rnd() < 0.3, "note": rng.choice(texts.NOTES)}),
            None if status == "draft" else _iso(start, rnd),
            _plain(start, rnd),
        )


def lease_tenants(sizes: Sizes) -> Iterator[Row]:
    """Who lives under which lease; the first leases are shared by two."""
    tenants = sizes.users - sizes.landlords - 1
    first = sizes.landlords + 2
    for lease in range(1, sizes.leases + 1):
        tenant = sizes.tenant_of(lease)
        if lease <= sizes.co_tenants:
            yield lease, tenant, 0.6
            yield lease, first + (tenant - first + 1) % tenants, 0.4
        else:
            yield lease, tenant, 1.0


def invoices(rng: random.Random, sizes: Sizes, count: int) -> Iterator[Row]:
    """Monthly invoices; the periods of one lease never repeat."""
    rnd = rng.random
    for number in range(1, count + 1):
        lease = sizes.lease_of(number)
        month = (number - 1) // sizes.leases + lease % 40
        period = f"{2021 + month // 12}-{month % 12 + 1:02d}"
        rent = rent_of(sizes.unit_of(lease))
        yield (
            number,
            lease,
            period,
            f"RE-{period}-{number:07d}",
            rent,
            rent * 19 // 119 if rnd() < 0.3 else 0,
            "CHF" if rnd() < 0.05 else "EUR",
            f"{period}-{1 + int(rnd() * 28):02d}",
            int(rnd() < 0.9),
            f"{period}-01 {_clock()[int(rnd() * 86_400)]}",
        )


def payments(rng: random.Random, sizes: Sizes, count: int) -> Iterator[Row]:
    """Payments, whole or in parts; a few came before there was an invoice."""
    rnd = rng.random
    days, clock = _days(), _clock()
    notes, methods = texts.NOTES, ("card", "sepa", "sepa", "sepa", "paypal", "cash")
    for number in range(1, count + 1):
        advance = rnd() < 0.05
        invoice = (number - 1) % sizes.invoices + 1
        lease = sizes.lease_of(invoice)
        rent = rent_of(sizes.unit_of(lease))
        method = methods[int(rnd() * 6)]
        luck = rnd()
        status = "succeeded" if luck < 0.9 else "pending" if luck < 0.95 else "failed" if luck < 0.98 else "refunded"
        day = days[_day(number, count)]
        second = int(rnd() * 86_000)
        yield (
            number,
            lease,
            None if advance else invoice,
            rent if luck < 0.6 else rent // 2 if luck < 0.8 else 2500 + int(rnd() * 9000),
            "EUR",
            method,
            status,
            None if method == "cash" else f"pi_{rng.getrandbits(64):016x}",
            notes[int(rnd() * len(notes))],
            f'{{"channel":"web","attempt":{1 + number % 3}}}' if number % 8 == 0 else None,
            int(method == "cash"),
            f"{day}T{clock[second + int(rnd() * 400)]}.{int(rnd() * 1000):03d}Z" if status != "pending" else None,
            f"{day} {clock[second]}",
        )


def receipts(rng: random.Random, sizes: Sizes) -> Iterator[Row]:
    """Scans of receipts, spread over the payments; the first is larger than many pages."""
    rnd = rng.random
    count = min(sizes.receipts, sizes.payments)
    for number in range(1, count + 1):
        payment = (number - 1) * sizes.payments // count + 1
        luck = rnd()
        scan: bytes | None = _PNG + rng.randbytes(65_536 if number == 1 else 30 + int(rnd() * 500))
        if number > 1 and luck < 0.12:
            scan = None if luck < 0.1 else b""
        yield (
            number,
            payment,
            _uuid(rng),
            f"Beleg {number} ({'März' if number % 2 else '領収書'}).png",
            "image/png",
            scan,
            len(scan or b""),
            _iso(_day(payment, sizes.payments), rnd),
        )


def integrations() -> Iterator[Row]:
    """Services in use: a table with a text key."""
    for number, (name, kind, config, enabled) in enumerate(INTEGRATIONS):
        yield (
            name,
            kind,
            _json(config),
            enabled,
            1 if number % 2 == 0 else None,
            f"2024-05-0{number + 1} 09:30:00",
        )


def migrations() -> Iterator[Row]:
    """The application's own record of the scripts it ran."""
    for number, filename in enumerate(MIGRATIONS):
        yield filename, f"2021-{number % 12 + 1:02d}-03 07:00:{number:02d}"
