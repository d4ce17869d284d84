"""A secret or a row's value must not reach a log, a message or a report."""

from __future__ import annotations

import math

import pytest

from nasmigrate.core.redaction import holds_password, mask_value, printable, redact, redact_all

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://app:{SECRET}@db:5432/market",
        f"connecting to postgres://app:{SECRET}@[::1]/market?sslmode=require now",
        f"postgresql://:{SECRET}@db/market",
        f"postgresql://app:it's\"{SECRET}@db/market",
        f"postgresql+psycopg://app:{SECRET}/x@y@db/market",
        f"postgresql://app:1234{SECRET}@db",
        f"postgresql://db/market?user=app&password={SECRET}&sslmode=require",
        f"host=db password={SECRET} dbname=market",
        f"host=db password = '{SECRET} with spaces and \\' quote' dbname=market",
        f"host=db password={SECRET}\\ {SECRET} dbname=market",
        f"host=db password={SECRET}&{SECRET}",
        f"sslpassword={SECRET}",
        f"PGPASSWORD={SECRET} psql",
        f"POSTGRES_PASSWORD='{SECRET}'",
        f'{{"password": "{SECRET}"}}',
        f"{{'pgpassword': '{SECRET}'}}",
        f"ALTER ROLE app PASSWORD '{SECRET}''{SECRET}'",
    ],
)
def test_passwords_are_masked(text: str) -> None:
    assert SECRET not in redact(text)
    assert "***" in redact(text)
    assert holds_password(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app@db:5432/market?application_name=a@b",
        "postgresql://db:5432/market",
        "host=db dbname=market passfile=/x",
        'password_file = ".target-password"',
        "copy 5/10 50.0%",
        "http://localhost:3101/health, then user@example.org",
    ],
)
def test_what_holds_no_password_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert not holds_password(text)


def test_masking_twice_changes_nothing() -> None:
    once = redact(f"postgresql://app:{SECRET}@db/m and password={SECRET}")
    assert redact(once) == once


def test_nested_documents_are_masked_and_stay_json() -> None:
    masked = redact_all({"dsn": [f"host=x password={SECRET}"], "password": SECRET, "n": 1, "ok": None, "b": b"x"})
    assert masked == {"dsn": ["host=x password=***"], "password": "***", "n": 1, "ok": None, "b": "b'x'"}


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        (None, "null"),
        ("hello, wörld", "text(12 chars)"),
        ("x", "text(1 char)"),
        ("", "text(0 chars)"),
        (b"\0" * 20, "blob(20 bytes)"),
        (memoryview(b"ab"), "blob(2 bytes)"),
        (-12345, "integer(5 digits)"),
        (0, "integer(1 digit)"),
        (1.25, "real(3 digits)"),
        (math.inf, "real(not finite)"),
        (math.nan, "real(not finite)"),
    ],
)
def test_a_value_is_described_by_class_and_size_only(value: object, masked: str) -> None:
    assert mask_value(value) == masked


def test_names_cannot_move_the_cursor_or_turn_the_line() -> None:
    assert printable("a\x1b[2Jb\nc\u202ed\u200be\ud800") == "a\\x1b[2Jb\\x0ac\\u202ed\\u200be\\ud800"
    assert printable("\x85\u2028\U000e0041") == "\\x85\\u2028\\U000e0041"
    assert printable("naïve 日本 🙂") == "naïve 日本 🙂"
