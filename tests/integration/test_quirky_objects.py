"""Every object of the quirky sample stands in Postgres, or is listed: seen by SQL written for this test alone.

Nothing of the package says here what should be there: SQLite's pragmas do, through the standard library.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from data_samples.generate import main as generate
from support.postgres import fresh_database

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.postgres.migrate import check
from nasmigrate.schema.metadata import metadata_from_plan
from nasmigrate.schema.plan import Plan
from nasmigrate.workflows.copy import copy

SAMPLES = Path(__file__).resolve().parents[2] / "data_samples"
LISTED = {
    # Rows without a parent.
    "FK_ORPHANS": ["payments_invoice_id_fkey", "properties_owner_id_fkey", "receipts_payment_id_fkey"],
    "TRIGGER_NOT_CARRIED": ["properties_search"],
    "VIEW_BROKEN": ["lease_balances"],
    "VIRTUAL_TABLE": ["properties_fts"],
}
"""All that does not stand in Postgres, by the finding that lists it."""
VALUES = {"TEXT_IN_BLOB", "BOOL_DOMAIN"}
"""Answered findings that are about values."""


@dataclass(frozen=True, kw_only=True)
class Copied:
    source: Path
    dsn: str
    result: Result
    plan: Plan
    run: Path

    def sqlite(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.source)) as connection:
            return connection.execute(query, values).fetchall()

    def postgres(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode(), values).fetchall()

    @property
    def tables(self) -> list[str]:
        return [
            str(name)
            for (name,) in self.sqlite(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
                " AND name NOT LIKE 'sqlite^_%' ESCAPE '^' AND name NOT LIKE 'properties^_fts%' ESCAPE '^' ORDER BY 1"
            )
        ]


@pytest.fixture(scope="module")
def copied(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    folder = tmp_path_factory.mktemp("quirky")
    source = folder / "marketplace.db"
    generate([str(source), "--variant", "quirky", "--scale", "small"])
    shutil.copy(SAMPLES / "quirky.toml", folder / "nasmigrate.toml")
    config = load_config(folder, environ={}).config
    with fresh_database(server.dsn) as dsn:
        context = Context(config=config, base=folder, reporter=Silent())
        result = copy(context, source, Target(conninfo=dsn, display="the target"), round_trip=True)
        assert result.run_directory is not None
        run = Path(result.run_directory)
        plan = Plan.model_validate_json((run / "plan.json").read_text())
        yield Copied(source=source, dsn=dsn, result=result, plan=plan, run=run)


def test_with_its_committed_answers_it_ends_0(copied: Copied) -> None:
    assert copied.result.exit_code == 0
    assert {gate.name: gate.status for gate in copied.result.gates if gate.status != "pass"} == {}


def test_alembic_finds_no_difference(copied: Copied) -> None:
    check(copied.dsn, copied.run / "migrations", metadata_from_plan(copied.plan))


def test_what_is_not_there_is_listed(copied: Copied) -> None:
    answered = [f for f in copied.plan.findings if f.severity != "note" and f.code not in VALUES]
    listed: dict[str, list[str]] = {}
    for finding in answered:
        listed.setdefault(finding.code, []).append(finding.subject)
    assert {code: sorted(names) for code, names in listed.items()} == LISTED


def test_tables_and_views(copied: Copied) -> None:
    there = copied.postgres(
        "SELECT table_name::text, table_type::text FROM information_schema.tables"
        " WHERE table_schema = 'public' ORDER BY 1"
    )
    views = [str(name) for (name,) in copied.sqlite("SELECT name FROM sqlite_master WHERE type = 'view'")]
    expected = [(name, "BASE TABLE") for name in copied.tables]
    expected += [(name, "VIEW") for name in views if name not in LISTED["VIEW_BROKEN"]]
    assert there == sorted(expected)


def test_columns_in_order_with_not_null_and_what_is_generated(copied: Copied) -> None:
    for table in copied.tables:
        ours = [
            (name, bool(not_null), hidden in (2, 3))
            for name, not_null, hidden in copied.sqlite(
                'SELECT name, "notnull" OR pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid', table
            )
        ]
        theirs = copied.postgres(
            "SELECT column_name::text, is_nullable = 'NO', is_generated = 'ALWAYS' FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
            table,
        )
        assert theirs == ours, table


def test_defaults_stand_where_they_stood(copied: Copied) -> None:
    for table in copied.tables:
        ours = copied.sqlite("SELECT name FROM pragma_table_xinfo(?) WHERE dflt_value IS NOT NULL ORDER BY name", table)
        theirs = copied.postgres(
            "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public'"
            ' AND table_name = %s AND column_default IS NOT NULL ORDER BY column_name COLLATE "C"',
            table,
        )
        assert theirs == sorted(ours), table


def test_primary_keys_in_their_order_and_who_numbers_them(copied: Copied) -> None:
    for table in copied.tables:
        ours = [name for (name,) in copied.sqlite("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", table)]
        theirs = copied.postgres(
            "SELECT a.attname::text, a.attidentity::text"
            " FROM pg_constraint c, unnest(c.conkey) WITH ORDINALITY k (n, i), pg_attribute a"
            " WHERE c.conrelid = ('public.' || quote_ident(%s))::regclass AND c.contype = 'p'"
            " AND a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY k.i",
            table,
        )
        assert [name for name, _ in theirs] == ours, table
        declared = dict(copied.sqlite("SELECT name, type FROM pragma_table_info(?)", table))
        numbered = len(ours) == 1 and declared[ours[0]] == "INTEGER"
        assert [identity for _, identity in theirs] == ["d" if numbered else "" for _ in ours], table


def test_foreign_keys_with_their_actions(copied: Copied) -> None:
    words = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
    for table in copied.tables:
        ours = []
        for column, parent, parent_column, on_update, on_delete in copied.sqlite(
            'SELECT "from", "table", "to", on_update, on_delete FROM pragma_foreign_key_list(?)', table
        ):
            if f"{table}_{column}_fkey" not in LISTED["FK_ORPHANS"]:
                ours.append((column, parent, parent_column or "id", on_update, on_delete))
        theirs = [
            (*names, words[str(update)], words[str(delete)])
            for *names, update, delete in copied.postgres(
                "SELECT a.attname::text, p.relname::text, b.attname::text, c.confupdtype::text, c.confdeltype::text"
                " FROM pg_constraint c JOIN pg_class p ON p.oid = c.confrelid"
                " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
                " JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]"
                " WHERE c.conrelid = ('public.' || quote_ident(%s))::regclass AND c.contype = 'f' AND c.convalidated",
                table,
            )
        ]
        assert sorted(theirs) == sorted(ours), table


def test_checks_are_as_many_and_valid(copied: Copied) -> None:
    for table in copied.tables:
        ((text,),) = copied.sqlite("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", table)
        ((count,),) = copied.postgres(
            "SELECT count(*) FROM pg_constraint WHERE conrelid = ('public.' || quote_ident(%s))::regclass"
            " AND contype = 'c' AND convalidated",
            table,
        )
        assert count == str(text).upper().count("CHECK"), table


def test_indexes_with_uniqueness_columns_and_where(copied: Copied) -> None:
    for table in copied.tables:
        ours = []
        for name, unique, origin, partial in copied.sqlite(
            'SELECT name, "unique", origin, partial FROM pragma_index_list(?)', table
        ):
            columns = copied.sqlite(
                'SELECT name, "desc", coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno', name
            )
            # NOCASE and expressions are an expression in Postgres.
            terms = [None if column is None or coll == "NOCASE" else column for column, _, coll in columns]
            descending = [bool(desc) for _, desc, _ in columns]
            if origin != "pk":
                ours.append((bool(unique), bool(partial), terms, descending))
        theirs = copied.postgres(
            "SELECT i.indisunique, i.indpred IS NOT NULL,"
            " array(SELECT a.attname::text FROM generate_series(0, i.indnkeyatts - 1) s LEFT JOIN pg_attribute a"
            "       ON a.attrelid = i.indrelid AND a.attnum = i.indkey[s] AND a.attnum > 0 ORDER BY s),"
            " array(SELECT (i.indoption[s] & 1) = 1 FROM generate_series(0, i.indnkeyatts - 1) s ORDER BY s)"
            " FROM pg_index i WHERE i.indrelid = ('public.' || quote_ident(%s))::regclass AND NOT i.indisprimary"
            " AND i.indisvalid",
            table,
        )
        assert sorted(theirs, key=repr) == sorted(ours, key=repr), table
