"""An account as Kill Bill takes it and gives it back: fields, their limits, and when two of them are equal.

Kill Bill checks few limits itself; for the others Postgres' "value too long" comes back as status 500. So all are
checked here, before anything is sent. Lengths are those of the columns of its table `accounts` (0.22 and 0.24).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

LIMITS: Mapping[str, int] = {
    "external_key": 255,
    "name": 100,
    "email": 128,
    "currency": 3,
    "time_zone": 50,
    "locale": 5,
    "address1": 100,
    "address2": 100,
    "company": 50,
    "city": 50,
    "state": 50,
    "country": 50,
    "postal_code": 16,
    "phone": 25,
    "notes": 4096,
}
"""Most characters of each text field."""

# Kill Bill's enum of currencies (killbill-api, org.killbill.billing.catalog.api.Currency); another one gives 400.
CURRENCIES = frozenset(
    re.findall(
        r"\w+",
        """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTC BTN BWP BYR BZD
        CAD CDF CHF CLP CNY COP CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GGP GHS GIP
        GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS IMP INR IQD IRR ISK JEP JMD JOD JPY KES KGS KHR KMF KPW KRW
        KWD KYD KZT LAK LBP LKR LRD LSL LTL LVL LYD MAD MDL MGA MKD MMK MNT MOP MRO MUR MVR MWK MXN MYR MZN NAD
        NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLL
        SOS SPL SRD STD SVC SYP SZL THB TJS TMT TND TOP TRY TTD TVD TWD TZS UAH UGX USD UYU UZS VEF VND VUV WST
        XAF XCD XDR XOF XPF YER ZAR ZMW ZWD""",
    )
)
_FILLED_IN = ("time_zone", "reference_time")
_LOCALE = re.compile(r"[a-z]{2}(_[A-Z]{2})?")
_OFFSET = re.compile(r"[+-]\d{2}:\d{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is sent for one person. `reference_time` is aware, in whole milliseconds."""

    external_key: str
    name: str | None = None
    email: str | None = None
    currency: str | None = None
    time_zone: str | None = None
    locale: str | None = None
    address1: str | None = None
    address2: str | None = None
    company: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    postal_code: str | None = None
    phone: str | None = None
    notes: str | None = None
    reference_time: datetime | None = None
    is_migrated: bool = True


FIELDS: tuple[str, ...] = tuple(each.name for each in fields(Account))
"""Names of the fields; in Kill Bill's JSON they are the same in camel case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """An account as Kill Bill keeps it. `created_by` is who made it, when that was asked for."""

    account_id: str
    account: Account
    created_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field in which a stored account is not what its person says."""

    external_key: str
    field: str
    source: str | None
    stored: str | None


def json_name(field: str) -> str:
    """`external_key` -> `externalKey`."""
    head, *rest = field.split("_")
    return head + "".join(word.capitalize() for word in rest)


def to_json(account: Account) -> dict[str, object]:
    """The body of a request; what is None is left out."""
    return {json_name(name): _plain(getattr(account, name)) for name in FIELDS if getattr(account, name) is not None}


def from_json(document: Mapping[str, object]) -> StoredAccount:
    """What Kill Bill answers.

    Raises:
        ValueError: it is not an account.
    """
    values = {name: document.get(json_name(name)) for name in FIELDS}
    account_id, moment = document.get("accountId"), values.pop("reference_time")
    if not isinstance(account_id, str) or not isinstance(values["external_key"], str):
        raise ValueError("no accountId or externalKey")
    made = [
        entry.get("changedBy")
        for entry in _entries(document.get("auditLogs"))
        if entry.get("changeType") == "INSERT" and entry.get("objectType", "ACCOUNT") == "ACCOUNT"
    ]
    texts: dict[str, Any] = {name: values[name] if isinstance(values[name], str) else None for name in LIMITS}
    account = Account(
        **texts,
        is_migrated=bool(values["is_migrated"]),
        reference_time=datetime.fromisoformat(moment) if isinstance(moment, str) else None,
    )
    return StoredAccount(account_id=account_id, account=account, created_by=str(made[0]) if made else None)


def violations(account: Account) -> tuple[str, ...]:
    """Why Kill Bill would refuse it or keep something else; values are not shown."""
    found = [
        f"{name} has {length} characters, at most {limit} fit"
        for name, limit in LIMITS.items()
        if (length := _length(name, getattr(account, name))) > limit
    ]
    found += [f"{name} holds a NUL character" for name in LIMITS if "\0" in (getattr(account, name) or "")]
    if not account.external_key:
        found.append("external_key is empty")
    if account.currency is not None and account.currency not in CURRENCIES:
        found.append(f"currency {account.currency!r} is none that Kill Bill knows")
    if account.locale is not None and not _LOCALE.fullmatch(account.locale):
        found.append(f"locale {account.locale[:20]!r} is not of the form en or en_US")
    if account.time_zone is not None and not _known_zone(account.time_zone):
        found.append(f"time_zone {account.time_zone[:60]!r} is not a time zone")
    if account.reference_time is not None and account.reference_time.microsecond % 1000:
        found.append("reference_time is finer than a millisecond; date_trunc('milliseconds', …) in the query")
    return tuple(found)


def differences(source: Account, stored: Account, compared: Sequence[str]) -> tuple[FieldDifference, ...]:
    """The `compared` fields in which the two are not equal; time zones are when they are names of the same rules."""
    stored = as_sent(source, stored)
    return tuple(
        FieldDifference(
            external_key=source.external_key,
            field=name,
            source=_shown(getattr(source, name)),
            stored=_shown(getattr(stored, name)),
        )
        for name in compared
        if _canonical(name, getattr(source, name)) != _canonical(name, getattr(stored, name))
    )


def checksum(accounts: Iterable[Account], compared: Sequence[str]) -> str:
    """sha256 over the `compared` fields of all accounts by external key: equal on both sides = every field is equal.

    Injective: the JSON of one list per account. Time zones count as their rules do, see `differences`.
    """
    digest = hashlib.sha256(json.dumps(list(compared)).encode())
    for account in sorted(accounts, key=lambda account: account.external_key):
        row = [account.external_key, *(_canonical(name, getattr(account, name)) for name in compared)]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def as_sent(source: Account, stored: Account) -> Account:
    """`stored` without what Kill Bill fills in itself when nothing is sent: the time zone, the time of reference."""
    filled: dict[str, Any] = {name: None for name in _FILLED_IN if getattr(source, name) is None}
    return replace(stored, **filled) if filled else stored


def _canonical(name: str, value: object) -> object:
    if name == "time_zone" and isinstance(value, str):
        # Kill Bill answers Asia/Kolkata to Asia/Calcutta: another name of the same rules.
        return _rules(value) or value
    return _plain(value)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def _shown(value: object) -> str | None:
    return None if value is None else str(_plain(value))


def _length(name: str, value: str | None) -> int:
    if value is None:
        return 0
    # Kill Bill itself measures the external key, in UTF-16 units as Java does; Postgres the others, in characters.
    return len(value.encode("utf-16-le", "surrogatepass")) // 2 if name == "external_key" else len(value)


def _known_zone(name: str) -> bool:
    return bool(_OFFSET.fullmatch(name)) or _rules(name) is not None


@cache
def _rules(name: str) -> str | None:
    """Digest of a time zone's compiled rules, equal for a zone and its aliases; None = not known here."""
    import zoneinfo
    from pathlib import Path

    if name not in _zones():
        return None
    for root in zoneinfo.TZPATH:
        file = Path(root, name)
        if file.is_file():
            return hashlib.sha256(file.read_bytes()).hexdigest()
    from importlib.resources import files

    return hashlib.sha256(files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()).hexdigest()


@cache
def _zones() -> frozenset[str]:
    import zoneinfo

    return frozenset(zoneinfo.available_timezones())


def _entries(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
