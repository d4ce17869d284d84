"""A backup of the whole stack by the tools inside its Postgres container, proven, and restored again."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from psycopg import sql
from support.stack import Ran, Stack, new_stack

from nasmigrate.killbill.client import KillBill
from nasmigrate.killbill.rest import Endpoint


def manifest(stack: Stack, folder: str) -> dict:
    return json.loads((Path(folder) / "manifest.json").read_text())


def test_both_databases_are_backed_up_proven_and_restored(stack: Stack) -> None:
    """No pg_dump of version 17 is on this machine; the one inside the container fits by nature."""
    made = stack.must("backup", "--no-source", "--json").json()
    assert {gate["name"]: gate["status"] for gate in made["gates"]} == {
        "restored marketplace": "pass",
        "restored killbill": "pass",
        "source": "skipped",
        "kept": "pass",
    }
    written = manifest(stack, made["target"])
    assert [database["name"] for database in written["databases"]] == ["marketplace", "killbill"]
    assert written["proof"]["restored_into"] == "scratch database"
    assert written["server_version"].startswith("17")
    assert json.loads((stack.home / "backups" / "last-backup.json").read_text())["exit_code"] == 0
    address = f"host=127.0.0.1 port={stack.port('postgres')} user=postgres"
    with stack.superuser("postgres") as connection:
        connection.execute(sql.SQL("CREATE DATABASE restored TEMPLATE template0 OWNER killbill"))
        try:
            stack.must(
                "restore",
                "--database",
                "killbill",
                "--target",
                f"{address} dbname=restored",
                "--password-file",
                "stack/secrets/postgres_password",
            )
            with stack.superuser("restored") as inside:
                assert inside.execute("SELECT count(*) > 0 FROM node_infos").fetchone() == (True,)
        finally:
            connection.execute("DROP DATABASE restored WITH (FORCE)")


def test_one_flipped_byte_is_refused(stack: Stack) -> None:
    made = stack.must("backup", "--no-source", "--json").json()
    dump = Path(made["target"]) / "2-killbill.dump"
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    ran = stack.nasmigrate("backup", "--check", Path(made["target"]).name)
    assert ran.code == 6
    assert "2-killbill.dump: changed since it was written" in ran.err


def test_a_new_nas_has_everything_again(stack: Stack, tmp_path: Path) -> None:
    """docs/backup.md, "After the NAS is lost": new volumes, and new secrets, since those were lost with it."""
    endpoint = Endpoint(
        url=f"http://127.0.0.1:{stack.port('killbill')}",
        user="admin",
        password=stack.secret("killbill_admin_password"),
        api_key="kept",
        api_secret="of a test",
    )
    with KillBill(endpoint) as kill_bill:
        assert kill_bill.create_tenant()
    tenants = "SELECT record_id, api_key, api_secret FROM tenants ORDER BY 1"
    with stack.superuser("marketplace") as connection:
        connection.execute("CREATE TABLE kept (id bigint PRIMARY KEY); INSERT INTO kept VALUES (7)")
        connection.execute("ALTER TABLE kept OWNER TO marketplace_owner; GRANT marketplace_owner TO marketplace_app")
        try:
            made = Path(stack.must("backup", "--no-source", "--json").json()["target"])
        finally:
            connection.execute("REVOKE marketplace_owner FROM marketplace_app; DROP TABLE kept")
    with new_stack(tmp_path / "new") as new:
        assert new.nasmigrate("stack", "up", environ={"NASMIGRATE_STACK_SERVICES": "postgres"}).code == 0
        address = f"postgresql://postgres@127.0.0.1:{new.port('postgres')}"

        def restored(database: str, *options: str) -> Ran:
            environ = {"PGPASSWORD": new.secret("postgres_password")}
            return new.nasmigrate("restore", str(made), *options, "--target", f"{address}/{database}", environ=environ)

        assert restored("marketplace", "--with-roles").code == 0
        with new.superuser("postgres") as connection:
            connection.execute("CREATE DATABASE killbill OWNER killbill TEMPLATE template0 ENCODING 'UTF8'")
        assert restored("killbill").code == 0
        new.must("stack", "up")
        assert new.rows("killbill", tenants) == stack.rows("killbill", tenants) != []
        with psycopg.connect(
            f"{address}/marketplace", user="marketplace_app", password=new.secret("marketplace_app_password")
        ) as connection:
            connection.execute("INSERT INTO kept VALUES (8)")
            assert connection.execute("SELECT id FROM kept ORDER BY 1").fetchall() == [(7,), (8,)]
        for database in ("marketplace", "killbill"):
            (row,) = new.rows(database, "SELECT has_database_privilege('public', current_database(), 'CONNECT')")
            assert row == (False,)
