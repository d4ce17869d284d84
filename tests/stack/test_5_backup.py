"""A backup of the whole stack by the tools inside its Postgres container, proven, and restored again."""

from __future__ import annotations

import json
from pathlib import Path

from psycopg import sql
from support.stack import Stack


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
