"""What `stack up` leaves: healthy services, databases with owners, Kill Bill on Postgres; again is nothing to do."""

from __future__ import annotations

import json
import stat
import urllib.request

import pytest
from support.stack import SERVICES, Stack

from nasmigrate.stack.secrets import NAMES


def test_every_service_is_healthy_and_the_second_up_changes_nothing(stack: Stack) -> None:
    before = [stack.container(service) for service in SERVICES]
    ran = stack.must("stack", "up", "--json")
    document = ran.json()
    assert document["already_running"] is True
    assert {each["service"]: each["health"] for each in document["services"]} == dict.fromkeys(SERVICES, "healthy")
    assert [stack.container(service) for service in SERVICES] == before
    assert stack.must("stack", "status", "--json").json()["ready"] is True


def test_databases_have_their_own_owners_and_shut_each_other_out(stack: Stack) -> None:
    with stack.superuser("postgres") as connection:
        owners = dict(
            connection.execute(
                "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname IN ('marketplace', 'killbill')"
            ).fetchall()
        )
        assert owners == {"marketplace": "marketplace_owner", "killbill": "killbill"}
        roles = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolsuper AND rolname NOT LIKE 'pg\\_%'"
        ).fetchall()
        assert roles == [("postgres",)]
        row = connection.execute(
            "SELECT has_database_privilege('killbill', 'marketplace', 'CONNECT'),"
            " has_database_privilege('marketplace_app', 'killbill', 'CONNECT'),"
            " has_database_privilege('marketplace_app', 'marketplace', 'CREATE')"
        ).fetchone()
        assert row == (False, False, False)
        locales = connection.execute(
            "SELECT DISTINCT datlocprovider, datlocale FROM pg_database WHERE datname IN ('marketplace', 'killbill')"
        ).fetchall()
        assert locales == [("b", "C.UTF-8")]


def test_killbill_uses_postgres(stack: Stack) -> None:
    with stack.superuser("killbill") as connection:
        count, width = connection.execute(
            "SELECT (SELECT count(*) FROM node_infos), atttypid::regtype::text FROM pg_attribute"
            " WHERE attrelid = 'accounts'::regclass AND attname = 'record_id'"
        ).fetchone()
        assert count >= 1
        assert width == "bigint"


def test_settings_now_lead_to_the_stack(stack: Stack) -> None:
    text = (stack.home / "nasmigrate.toml").read_text()
    assert f"postgresql://postgres@127.0.0.1:{stack.port('postgres')}/marketplace" in text
    assert 'path = "stack/marketplace_data/marketplace.db"' in text
    assert "seed = true" in text
    assert stack.secret("postgres_password") not in text


def test_secrets_are_private_files(stack: Stack) -> None:
    folder = stack.folder / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # Containers read those that `stack up` made; what other tests had written for the tool alone is nobody else's.
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == (0o444 if path.name in NAMES else 0o600), path
    secrets = [stack.secret(name) for name in NAMES]
    assert len(set(secrets)) == len(secrets) == 5
    assert min(map(len, secrets)) >= 32


@pytest.mark.parametrize("path", ["/api/health", "/api/integrations"])
def test_marketplace_answers(stack: Stack, path: str) -> None:
    url = f"http://127.0.0.1:{stack.port('marketplace')}{path}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        document = json.load(answer)
    if path == "/api/health":
        assert document == {
            "ok": True,
            "database": {"engine": "sqlite", "reachable": True},
            "queue": "redis",
            "integrations_registered": 3,
        }
    else:
        assert {each["name"] for each in document["integrations"]} == {"payment-provider", "mail", "calendar"}
