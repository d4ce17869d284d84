"""A rehearsal that was killed leaves its database; the next one drops that, and no other."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nasmigrate.backup.restoring import PROOF
from nasmigrate.backup.restoring import scratch_database as proof_database
from nasmigrate.workflows.scratch_database import REHEARSAL, scratch_database

LEFT, AT_WORK, KEPT, FOREIGN = (f"{REHEARSAL.prefix}{n:08x}" for n in range(4))


@pytest.fixture
def crowded(database: str) -> str:
    """The server with one database of each kind."""
    with psycopg.connect(database, autocommit=True) as connection:
        for name in (LEFT, AT_WORK, KEPT, FOREIGN + "_mine"):
            connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
            if name != KEPT:
                connection.execute(f"COMMENT ON DATABASE {name} IS '{REHEARSAL.mark}'".encode())
    return database


def names(conninfo: str) -> set[str]:
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'nasmigrate_rehearsal_%'")
        return {name for (name,) in rows}


def test_only_what_a_killed_rehearsal_left_is_dropped(crowded: str) -> None:
    with psycopg.connect(make_conninfo(crowded, dbname=AT_WORK)):
        with scratch_database(crowded, keep=False) as (_, mine):
            assert names(crowded) == {AT_WORK, KEPT, FOREIGN + "_mine", mine}
            with scratch_database(crowded, keep=False) as (_, second):
                assert {mine, second} < names(crowded)
        assert names(crowded) == {AT_WORK, KEPT, FOREIGN + "_mine"}


def test_one_that_is_to_stay_stays(crowded: str) -> None:
    with scratch_database(crowded, keep=True) as (_, mine):
        pass
    with scratch_database(crowded, keep=False):
        assert mine in names(crowded)


def test_what_a_killed_proof_of_a_backup_left_is_dropped_by_the_next(database: str) -> None:
    mark = PROOF.mark.replace("'", "''")
    left = f"{PROOF.prefix}0000000a"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {left}".encode())
        connection.execute(f"COMMENT ON DATABASE {left} IS '{mark}'".encode())
        (owner,) = connection.execute("SELECT current_user::text").fetchone() or ("",)
        with proof_database(database, owner) as made:
            there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    assert left not in there
    assert conninfo_to_dict(made)["dbname"] in there
