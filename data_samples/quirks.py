"""What years of a schema-less habit leave behind: turns the clean marketplace into the quirky one.

Every quirk sits in rows known by number, so that a test can name the value it expects.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from data_samples import build
from data_samples.sizes import Sizes

PRICES = (19.99, 4.35, 1.1)
"""Prices whose product with 100 is no whole number in binary: 1998.9999999999998, 434.99999999999994, …"""

MONEY_EVERY = 10
"""Every tenth payment got its cents as price * 100, bound as a double, as a JavaScript number is."""

NOWHERE = 99_999_999
"""A key that no row has."""

_CHANGES: tuple[tuple[str, tuple[object, ...]], ...] = (
    # Three orphans, each of another foreign key.
    ("UPDATE payments SET invoice_id = ? WHERE id = 2", (NOWHERE,)),
    ("UPDATE properties SET owner_id = ? WHERE id = 3", (NOWHERE,)),
    ("UPDATE receipts SET payment_id = ? WHERE id = 2", (NOWHERE,)),
    # One DATETIME column, four more shapes beside 'YYYY-MM-DD HH:MM:SS'.
    ("UPDATE properties SET updated_at = ? WHERE id = 1", ("2024-01-02",)),
    ("UPDATE properties SET updated_at = ? WHERE id = 2", ("2024-01-02T03:04:05Z",)),
    ("UPDATE properties SET updated_at = ? WHERE id = 3", ("2024-01-02T03:04:05+02:00",)),
    ("UPDATE properties SET updated_at = ? WHERE id = 4", ("2024-01-02 03:04:05.250",)),
    # Date.now() beside toISOString().
    ("UPDATE users SET last_login_at = 1704067200000 + id WHERE id IN (2, 5, 7)", ()),
    # An empty form field in a number column; SQLite keeps the text.
    ("UPDATE units SET floor = ? WHERE id IN (2, 4)", ("",)),
    # Text where bytes belong; the second looks like the hex input of bytea.
    ("UPDATE receipts SET scan = ? WHERE id = 3", ("kein Scan",)),
    ("UPDATE receipts SET scan = ? WHERE id = 4", ("\\x6162",)),
    ("UPDATE properties SET description = ? WHERE id = 2", ("vor\x00nach",)),
    # 0xFF never occurs in UTF-8.
    ("UPDATE payments SET note = CAST(x'ff41' AS TEXT) WHERE id = 4", ()),
    ("UPDATE users SET newsletter = ? WHERE id = 3", (2,)),
    ("UPDATE users SET newsletter = ? WHERE id = 4", ("true",)),
)

_AUDIT = (
    ("Zoë", "login", "2024-03-01 08:00:00"),
    ("Zoë", "login", "2024-03-01 08:00:00"),
    ("Zoë", "login", "2024-03-01 08:00:00"),
    (None, "cron", None),
    (None, "cron", None),
    ("王", "", "2024-03-02 09:30:00"),
)


def apply(connection: sqlite3.Connection, sizes: Sizes) -> None:
    """Add the objects of quirks.sql and put the odd values in."""
    script = (Path(__file__).resolve().parent / "quirks.sql").read_text(encoding="utf-8")
    for statement in build.statements(script):
        connection.execute(statement)
    for change, values in _CHANGES:
        connection.execute(change, values)
    connection.executemany(
        "UPDATE payments SET amount_cents = ? WHERE id = ?",
        (
            (PRICES[number // MONEY_EVERY % len(PRICES)] * 100, number)
            for number in range(MONEY_EVERY, sizes.payments + 1, MONEY_EVERY)
        ),
    )
    build.insert(connection, "audit_log", _AUDIT)
    connection.executemany(
        "INSERT INTO deposits (id, lease_id, amount_cents, interest_cents) VALUES (?, ?, ?, ?)",
        ((lease, lease, 90_000 + lease, lease * 3) for lease in range(1, min(sizes.leases, 50) + 1)),
    )
