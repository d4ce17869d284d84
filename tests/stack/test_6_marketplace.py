"""The marketplace's backend on SQLite, in its container: what it stores, refuses and tells its integrations."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from itertools import count

import pytest
from support.stack import Stack, docker

_names = count()


def call(stack: Stack, path: str, body: object = None) -> tuple[int, dict]:
    request = urllib.request.Request(f"http://127.0.0.1:{stack.port('marketplace')}/api{path}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def new_user(stack: Stack, **changes: object) -> dict:
    user = {
        "email": f"user{next(_names)}.{time.time_ns()}@example.org",
        "full_name": "Ünë Name",
        "password": "secret word",
    }
    status, made = call(stack, "/users", {**user, **changes})
    assert status == 201, made
    return made


@pytest.fixture(scope="module")
def unit(stack: Stack) -> int:
    """A flat to be leased, written into the live file as another process would."""
    owner = new_user(stack, role="landlord")["id"]
    with closing(sqlite3.connect(stack.folder / "marketplace_data" / "marketplace.db", timeout=10)) as file, file:
        property_id = file.execute(
            "INSERT INTO properties (public_id, owner_id, slug, title, street, postal_code, city)"
            " VALUES (?, ?, 'flat', 'Flat', 'Street 1', '10115', 'Berlin')",
            (f"public-{time.time_ns()}", owner),
        ).lastrowid
        made = file.execute(
            "INSERT INTO units (property_id, label, area_m2, rent_cents) VALUES (?, 'A', 42.5, 80000)", (property_id,)
        ).lastrowid
    assert made is not None
    return made


def test_a_user_is_kept_with_real_booleans_and_without_the_password(stack: Stack) -> None:
    made = new_user(stack)
    assert made["is_verified"] is False
    assert call(stack, f"/users/{made['id']}") == (200, made)
    assert "password" not in json.dumps(made)


def test_the_same_address_in_other_case_is_refused(stack: Stack) -> None:
    made = new_user(stack)
    again = {"email": made["email"].upper(), "full_name": "X", "password": "y"}
    assert call(stack, "/users", again)[0] == 409


@pytest.mark.parametrize("amount", [19.99 * 100, -1, "100", None, 2**53])
def test_money_is_whole_cents(stack: Stack, unit: int, amount: object) -> None:
    body = {"lease_id": 1, "amount_cents": amount, "method": "card"}
    assert call(stack, "/payments", body)[0] == 400


def test_lease_and_payment(stack: Stack, unit: int) -> None:
    tenant = new_user(stack)["id"]
    body = {"unit_id": unit, "tenant_id": tenant, "start_date": "2026-02-01", "rent_cents": 80000}
    status, lease = call(stack, "/leases", body)
    assert (status, lease["status"], lease["end_date"]) == (201, "draft", None)
    reference = f"ref-{time.time_ns()}"
    payment = {"lease_id": lease["id"], "amount_cents": 1999, "method": "cash", "provider_ref": reference}
    status, made = call(stack, "/payments", payment)
    assert (status, made["amount_cents"], made["is_manual"]) == (201, 1999, True)
    assert call(stack, f"/payments?provider_ref={reference}")[1] == {"payments": [made]}


def test_a_lease_for_nobody_is_a_conflict(stack: Stack, unit: int) -> None:
    body = {"unit_id": unit, "tenant_id": 10**9, "start_date": "2026-02-01", "rent_cents": 1}
    assert call(stack, "/leases", body)[0] == 409


@pytest.mark.parametrize("path", ["/users/999999999", "/leases/999999999", "/payments/999999999", "/nothing"])
def test_what_is_not_there(stack: Stack, path: str) -> None:
    assert call(stack, path)[0] == 404


def mails(stack: Stack) -> int:
    listed = call(stack, "/integrations")[1]["integrations"]
    return next(each["calls"] for each in listed if each["name"] == "mail")


def wait_for_mails(stack: Stack, expected: int) -> None:
    deadline = time.monotonic() + 20
    while mails(stack) < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert mails(stack) == expected


def test_events_reach_the_integrations_with_and_without_redis(stack: Stack) -> None:
    before = mails(stack)
    new_user(stack)
    wait_for_mails(stack, before + 1)
    docker("stop", stack.container("redis"))
    try:
        new_user(stack)
        wait_for_mails(stack, before + 2)
        assert call(stack, "/health")[1]["queue"] == "in-process"
    finally:
        stack.must("stack", "up")
    deadline = time.monotonic() + 30
    while call(stack, "/health")[1]["queue"] != "redis" and time.monotonic() < deadline:
        time.sleep(0.5)
    new_user(stack)
    wait_for_mails(stack, before + 3)
