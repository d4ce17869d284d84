"""The revisions that a plan is written as: what they say, and that no name gets out of its quotes."""

from __future__ import annotations

import ast
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from support.plans import HOSTILE_NAMES, column, hostile_plan, large_plan, ordinary_plan

from nasmigrate.core.errors import RevisionConflict, SchemaError, UnmappableColumn
from nasmigrate.schema.metadata import default_text, metadata_from_plan, sql_text
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.revisions import render_revisions, write_revisions

DIALECT = postgresql.dialect(paramstyle="named")


def constants(text: str) -> set[object]:
    return {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}


def calls(text: str, function: str) -> list[str]:
    """The calls `op.…` of one function of a revision, in order."""
    (body,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function)
    found = []
    for statement in body.body:
        assert isinstance(statement, ast.Expr), ast.dump(statement)
        assert isinstance(statement.value, ast.Call), ast.dump(statement)
        found.append(ast.unparse(statement.value.func).removeprefix("op."))
    return found


def test_a_revision_reads_as_a_person_would_write_it() -> None:
    plan = Plan(
        encoding="UTF-8",
        tables=(
            PlanTable(
                name="notes",
                columns=(
                    column("id", "bigint", nullable=False, identity=True),
                    column("body", nullable=False, default_sql="''"),
                    column("at", "timestamp(3)"),
                ),
                primary_key=("id",),
            ),
        ),
    ).hashed()
    tables, constraints = render_revisions(plan)
    assert tables.name == f"0001_tables_{tables.revision_id}.py"
    assert (
        """def upgrade() -> None:
    op.create_table(
        'notes',
        sa.Column('id', postgresql.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column('body', postgresql.TEXT(collation='C'), server_default=sa.text("''"), nullable=False),
        sa.Column('at', postgresql.TIMESTAMP(precision=3), nullable=True),
    )


def downgrade() -> None:
    op.drop_table('notes')
"""
        in tables.text
    )
    assert constraints.text.endswith(
        """def upgrade() -> None:
    op.create_primary_key('notes_pkey', 'notes', ['id'])


def downgrade() -> None:
    op.drop_constraint('notes_pkey', 'notes', type_='primary')
"""
    )
    assert f"down_revision: str | None = {tables.revision_id!r}" in constraints.text
    assert plan.hash in tables.text
    assert plan.hash in constraints.text


def test_rows_come_before_keys_and_parents_before_foreign_keys() -> None:
    tables, constraints = render_revisions(ordinary_plan())
    assert calls(tables.text, "upgrade") == ["create_table"] * 3
    assert calls(tables.text, "downgrade") == ["drop_table"] * 3
    up = calls(constraints.text, "upgrade")
    assert up == [
        *["create_primary_key"] * 2,
        "create_unique_constraint",
        *["create_index"] * 3,
        "create_unique_constraint",
        "create_check_constraint",
        *["create_foreign_key"] * 2,
    ]
    assert len(calls(constraints.text, "downgrade")) == len(up)


def test_the_text_depends_on_what_the_plan_decides_and_on_nothing_else() -> None:
    plan = ordinary_plan()
    later = plan.model_copy(update={"created_at": "2031-01-01", "source": "/elsewhere.db"})
    assert render_revisions(later) == render_revisions(plan)
    other = plan.model_copy(update={"tables": plan.tables[:1]}).hashed()
    ids = {file.revision_id for made in (plan, other) for file in render_revisions(made)}
    assert len(ids) == 4


def test_every_hostile_name_is_a_string_and_only_a_string() -> None:
    tables, constraints = render_revisions(hostile_plan())
    for name in HOSTILE_NAMES:
        assert name in constants(tables.text)
        assert name in constants(constraints.text)
    assert calls(tables.text, "upgrade") == ["create_table"] * len(HOSTILE_NAMES)
    assert set(calls(constraints.text, "upgrade")) == {
        "create_primary_key",
        "create_unique_constraint",
        "create_index",
        "create_check_constraint",
        "create_foreign_key",
        "execute",
    }


def test_a_plan_without_tables_gives_revisions_that_do_nothing() -> None:
    for file in render_revisions(Plan(encoding="UTF-8", tables=())):
        compile(file.text, file.name, "exec")
        assert "    pass" in file.text


def test_a_wide_table_and_many_tables_compile() -> None:
    for file in render_revisions(large_plan(tables=200, columns=1600)):
        compile(file.text, file.name, "exec")


@pytest.mark.parametrize(
    "sql",
    [
        "a::text",
        "':x'",
        r"'a\:b'",
        "x[1:y]",
        "'%s %% %(a)s'",
        "a ::text || ':b' || '::c' || ':::d'",
        "'12:30' || ':é'",
        r"'\\:' || '\:\:'",
    ],
)
def test_sql_passes_through_sqlalchemy_unchanged(sql: str) -> None:
    assert str(sa.text(sql_text(sql)).compile(dialect=DIALECT)) == sql


def test_a_cast_stays_readable() -> None:
    assert sql_text("a::text") == "a::text"


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ("'it''s'", "'it''s'"),
        ("-1.5", "-1.5"),
        ("now()", "now()"),
        ("now() AT TIME ZONE 'UTC'", "(now() AT TIME ZONE 'UTC')"),
        ("'a' || 'b'", "('a' || 'b')"),
    ],
)
def test_a_default_is_in_parentheses_where_the_grammar_needs_them(sql: str, written: str) -> None:
    assert default_text(sql) == written


def test_the_metadata_says_what_the_plan_says() -> None:
    metadata = metadata_from_plan(ordinary_plan())
    users = str(CreateTable(metadata.tables["users"]).compile(dialect=DIALECT))
    for line in (
        "id BIGINT GENERATED BY DEFAULT AS IDENTITY",
        'email TEXT COLLATE "C" NOT NULL',
        "name TEXT COLLATE \"C\" DEFAULT 'it''s: 100% :x'",
        "seen TIMESTAMP(3) WITHOUT TIME ZONE DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')",
        "made TIMESTAMP(6) WITH TIME ZONE DEFAULT now()",
        "wakes TIME(0) WITHOUT TIME ZONE",
        "CONSTRAINT users_pkey PRIMARY KEY (id)",
        "CONSTRAINT users_email UNIQUE (email)",
        'CONSTRAINT users_score CHECK ("score" < 100 AND "name" NOT LIKE \':p%\')',
    ):
        assert line in users
    indexes = {str(CreateIndex(index).compile(dialect=DIALECT)) for index in metadata.tables["users"].indexes}
    assert 'CREATE UNIQUE INDEX users_lower ON users ((lower("email" COLLATE "C")) DESC)' in indexes
    assert 'CREATE INDEX users_seen ON users (seen DESC, name) WHERE "name" <> \':a%\' AND "active"' in indexes
    orders = str(CreateTable(metadata.tables["Orders"]).compile(dialect=DIALECT))
    assert 'CONSTRAINT "Orders_pkey" PRIMARY KEY (number, user_id)' in orders
    assert "SERIAL" not in orders
    assert "ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED" in orders


def test_a_column_of_the_primary_key_is_never_nullable() -> None:
    metadata = metadata_from_plan(ordinary_plan())
    assert not metadata.tables["Orders"].c["number"].nullable
    assert "sa.Column('number', postgresql.BIGINT(), nullable=False)" in render_revisions(ordinary_plan())[0].text


@pytest.mark.parametrize("name", ["t", "é" * 31])
def test_an_unnamed_primary_key_gets_a_name_that_fits(name: str) -> None:
    chosen = PlanTable(name=name, columns=()).key_name
    assert chosen.startswith(name[:27])
    assert len(chosen.encode()) <= 63


@pytest.mark.parametrize("pg_type", ["geometry", "bigint(3)", "text(3)", "timestamp(3); DROP TABLE t", ""])
def test_a_type_that_no_codec_has_is_refused(pg_type: str) -> None:
    plan = Plan(encoding="UTF-8", tables=(PlanTable(name="t", columns=(column("c", pg_type),)),))
    with pytest.raises(UnmappableColumn, match="column c"):
        render_revisions(plan)


def test_writing_twice_keeps_what_someone_commented(tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    plan = ordinary_plan()
    first, second = write_revisions(plan, folder)
    assert sorted(folder.iterdir()) == [first, second]
    assert first.read_text(encoding="utf-8") == render_revisions(plan)[0].text
    assert stat.S_IMODE(first.stat().st_mode) & stat.S_IRUSR
    renamed = first.rename(folder / "0001_first.py")
    commented = f"# reviewed\n{renamed.read_text(encoding='utf-8')}"
    renamed.write_text(commented, encoding="utf-8")
    assert write_revisions(plan, folder) == (renamed, second)
    assert renamed.read_text(encoding="utf-8") == commented
    second.unlink()
    assert write_revisions(plan, folder) == (renamed, second)


def test_revisions_of_another_schema_are_not_mixed_with_these(tmp_path: Path) -> None:
    plan = ordinary_plan()
    write_revisions(plan, tmp_path)
    before = sorted(tmp_path.iterdir())
    other = plan.model_copy(update={"tables": plan.tables[:1]}).hashed()
    with pytest.raises(RevisionConflict) as raised:
        write_revisions(other, tmp_path)
    for made in (plan, other):
        for file in render_revisions(made):
            assert file.revision_id in raised.value.message
    assert raised.value.hint
    assert sorted(tmp_path.iterdir()) == before


def test_other_files_beside_the_revisions_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 1\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("revision = 'x'\n", encoding="utf-8")
    assert len(write_revisions(ordinary_plan(), tmp_path)) == 2


def test_a_folder_that_is_a_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.write_text("", encoding="utf-8")
    with pytest.raises(SchemaError, match="migrations"):
        write_revisions(ordinary_plan(), folder)
