"""A rehearsal that was killed leaves its database; the next one drops that, and no other."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nasmigrate.workflows.scratch_database import MARK, PREFIX, scratch_database

LEFT, AT_WORK, KEPT, FOREIGN = (f"{PREFIX}{n:08x}" for n in range(4))


@pytest.fixture
def crowded(database: str) -> str:
    """The server with one database of each kind."""
    with psycopg.connect(database, autocommit=True) as connection:
        for name in (LEFT, AT_WORK, KEPT, FOREIGN + "_mine"):
            connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
            if name != KEPT:
                connection.execute(f"COMMENT ON DATABASE {name} IS '{MARK}'".encode())
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
