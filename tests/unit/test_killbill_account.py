"""What is sent to Kill Bill fits it, and what comes back is judged by its meaning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from nasmigrate.killbill.account import (
    FIELDS,
    LIMITS,
    Account,
    as_sent,
    checksum,
    differences,
    from_json,
    json_name,
    to_json,
    violations,
)

WHOLE = Account(
    external_key="7",
    name="Ada",
    email="ada@example.org",
    currency="EUR",
    time_zone="Europe/Berlin",
    locale="de_DE",
    reference_time=datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=timezone(timedelta(hours=2))),
)
RECORDED = {
    "accountId": "8612447b-c891-44c3-b816-4d9d7473bc8c",
    "name": "Ada",
    "externalKey": "7",
    "email": "ada@example.org",
    "billCycleDayLocal": 0,
    "currency": "EUR",
    "referenceTime": "2020-01-02T01:04:05.678Z",
    "timeZone": "Europe/Berlin",
    "locale": "de_DE",
    "isMigrated": True,
    "auditLogs": [{"changeType": "INSERT", "objectType": "ACCOUNT", "changedBy": "nasmigrate 1", "history": None}],
}


def test_what_was_sent_comes_back_equal() -> None:
    stored = from_json(RECORDED)
    assert (stored.account_id, stored.created_by) == ("8612447b-c891-44c3-b816-4d9d7473bc8c", "nasmigrate 1")
    assert differences(WHOLE, stored.account, FIELDS) == ()
    assert checksum([WHOLE], FIELDS) == checksum([stored.account], FIELDS)
    assert to_json(WHOLE) == {
        "externalKey": "7",
        "name": "Ada",
        "email": "ada@example.org",
        "currency": "EUR",
        "timeZone": "Europe/Berlin",
        "locale": "de_DE",
        "referenceTime": "2020-01-02T01:04:05.678Z",
        "isMigrated": True,
    }


@pytest.mark.parametrize("name", LIMITS)
def test_the_longest_text_fits_and_one_more_is_named_without_its_value(name: str) -> None:
    free = [name for name in LIMITS if name not in ("currency", "locale", "time_zone")]
    if name in free:
        assert violations(replace(WHOLE, **{name: "ü" * LIMITS[name]})) == ()
    (first, *_) = violations(replace(WHOLE, **{name: "x" * (LIMITS[name] + 1)}))
    assert first == f"{name} has {LIMITS[name] + 1} characters, at most {LIMITS[name]} fit"


def test_lengths_are_counted_as_each_side_counts() -> None:
    """Java counts UTF-16 units, and Kill Bill itself checks the external key; Postgres counts characters."""
    assert violations(replace(WHOLE, name="🦊" * 100)) == ()
    assert violations(replace(WHOLE, external_key="🦊" * 128)) == ("external_key has 256 characters, at most 255 fit",)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"external_key": ""}, "external_key is empty"),
        ({"currency": "XXQ"}, "currency 'XXQ' is none that Kill Bill knows"),
        ({"locale": "zh-CN"}, "is not of the form en or en_US"),
        ({"time_zone": "Mars/Olympus"}, "is not a time zone"),
        ({"name": "a\0b"}, "name holds a NUL character"),
        ({"reference_time": datetime(2020, 1, 1, microsecond=1, tzinfo=UTC)}, "finer than a millisecond"),
    ],
)
def test_what_kill_bill_would_refuse_or_change_is_found_before(changed: dict[str, object], said: str) -> None:
    (only,) = violations(replace(WHOLE, **changed))
    assert said in only


@pytest.mark.parametrize("zone", ["UTC", "+02:00", "Asia/Calcutta", "US/Eastern", "Etc/GMT+5"])
def test_time_zones_that_kill_bill_takes(zone: str) -> None:
    assert violations(replace(WHOLE, time_zone=zone)) == ()


def test_another_name_of_the_same_time_zone_is_no_difference() -> None:
    """Kill Bill answers Asia/Kolkata to Asia/Calcutta, and Etc/GMT to GMT."""
    for sent, answered in (("Asia/Calcutta", "Asia/Kolkata"), ("US/Eastern", "America/New_York"), ("GMT", "Etc/GMT")):
        source, stored = replace(WHOLE, time_zone=sent), replace(WHOLE, time_zone=answered)
        assert differences(source, stored, FIELDS) == ()
        assert checksum([source], FIELDS) == checksum([stored], FIELDS)
    assert differences(WHOLE, replace(WHOLE, time_zone="Europe/London"), FIELDS)


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "external_key"])
def test_a_change_of_any_field_is_seen(name: str) -> None:
    other = {"reference_time": datetime(1999, 1, 1, tzinfo=UTC), "is_migrated": False, "time_zone": "Asia/Tokyo"}
    changed = replace(WHOLE, **{name: other.get(name, "other")})
    assert [found.field for found in differences(WHOLE, changed, FIELDS)] == [name]
    assert checksum([WHOLE], FIELDS) != checksum([changed], FIELDS)


def test_what_kill_bill_fills_in_itself_is_no_difference() -> None:
    sent = Account(external_key="1")
    stored = replace(sent, time_zone="UTC", reference_time=datetime(2026, 1, 1, tzinfo=UTC))
    assert differences(sent, stored, FIELDS) == ()
    assert as_sent(sent, stored) == sent


def test_the_checksum_keeps_fields_and_accounts_apart() -> None:
    one, two = Account(external_key="1", name="a", email="b"), Account(external_key="1", name="b", email="a")
    assert checksum([one], ("name", "email")) != checksum([two], ("name", "email"))
    assert checksum([one], ("name",)) != checksum([one, replace(two, external_key="2")], ("name",))
    several = [replace(one, external_key=str(number)) for number in range(3)]
    assert checksum(several, FIELDS) == checksum(list(reversed(several)), FIELDS)


def test_what_is_no_account_is_refused() -> None:
    with pytest.raises(ValueError, match="accountId"):
        from_json({"externalKey": "1"})


def test_json_names() -> None:
    assert [json_name(name) for name in ("name", "external_key", "is_migrated", "address1")] == [
        "name",
        "externalKey",
        "isMigrated",
        "address1",
    ]
