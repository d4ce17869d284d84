"""The DDL reader against SQLite itself: whatever SQLite accepts is read as SQLite reads it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasmigrate.core.errors import SchemaError
from nasmigrate.schema.model import Check
from nasmigrate.sqlite.ddl import (
    ParsedForeignKey,
    ParsedTable,
    ParsedTerm,
    ParsedUnique,
    parse_create_index,
    parse_create_table,
)
from nasmigrate.sqlite.quoting import fold_ascii, quote_ident, unquote

# Keywords that SQLite lets stand for a name (the %fallback list of parse.y), and three that are no keywords at all.
FALLBACK = (  # noqa: SIM905 - a list of words reads better
    "abort action after always analyze asc attach before begin by cascade cast column conflict current database "
    "deferred desc detach do each end exclude exclusive explain fail filter first following for generated glob groups "
    "ignore immediate initially instead key last like match materialized no nulls of offset others partition plan "
    "pragma preceding query raise range recursive regexp reindex release rename replace restrict rollback row rows "
    "savepoint temp temporary ties trigger unbounded vacuum view virtual with without rowid strict stored"
).split()
RESERVED = [
    "select",
    "table",
    "from",
    "group",
    "primary",
    "check",
    "references",
    "default",
    "not",
    "collate",
    "as",
    "on",
]

NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
BLANK = st.sampled_from(
    [" ", "\n", "\t", " /* ) , ' \" ( */ ", " -- it's (\n", " /**/ ", "\r\n", " /* CHECK (x) */", " \ufeff"]
)


@st.composite
def written_names(draw: st.DrawFn) -> tuple[str, str]:
    """A name, and one way to write it."""
    name = draw(NAME | st.sampled_from(FALLBACK) | st.sampled_from(RESERVED) | st.sampled_from(["é", "a$b", "x", "ı"]))
    ways = [quote_ident(name), "`" + name.replace("`", "``") + "`", "'" + name.replace("'", "''") + "'"]
    if "]" not in name:
        ways.append(f"[{name}]")
    if name in FALLBACK or name in {"é", "a$b", "x", "ı"}:
        ways.append(name)
    return name, draw(st.sampled_from(ways))


EXPRESSIONS = (
    "1",
    "(1)",
    "1 > 0 AND ')' <> '('",
    "((1) + (2 * (3))) <> 0x1F",
    'x\'ab\' <> "it""s"',
    "CASE WHEN 1 THEN 'a,b' ELSE \"b)\" END IN ('a', 'b''', 'c')",
    "abs(-1.5e3) BETWEEN .5 AND 1e+2",
    "1 -- )\n + 1",
    "1 /* ( */ | 2 << 1",
    "'a' || 'b' COLLATE nocase <> '[' ",
    "~1 & 2 % 3 / 4 - -5 <= 6 == NOT 7",
    "'{}' ->> '$.a' IS NOT NULL",
)
DEFAULTS = (
    ("NULL", "NULL"),
    ("-1", "-1"),
    ("+ 2.50", "+ 2.50"),
    ("- /* minus */ 3", "- /* minus */ 3"),
    ("'it''s, ('", "'it''s, ('"),
    ('"dq"', '"dq"'),
    ("bare", "bare"),
    ("x'00'", "x'00'"),
    ("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP"),
    ("true", "true"),
    ("(datetime('now', '(x)'))", "datetime('now', '(x)')"),
    ("( 1 + (2) )", "1 + (2)"),
    ("(lower(hex(randomblob(16))))", "lower(hex(randomblob(16)))"),
)
KINDS = ("notnull", "null", "default", "check", "collate", "unique", "fk", "lonely", "generated")
TYPES = ("", "TEXT", "INT", "VARCHAR(10)", "DECIMAL(10, -2)", "unsigned big int", '"odd type"', "[x] 'y'", "DOUBLE")


@dataclass
class Made:
    """A generated table and what the reader must find in it."""

    sql: str
    checks: list[Check] = field(default_factory=list)
    defaults: list[str | None] = field(default_factory=list)
    generated: list[str | None] = field(default_factory=list)


@st.composite
def tables(draw: st.DrawFn) -> Made:
    made = Made("")
    columns = draw(st.lists(written_names(), min_size=1, max_size=5, unique_by=lambda item: fold_ascii(item[0])))
    label = st.none() | written_names()

    def named(constraint: str, name: tuple[str, str] | None) -> list[str]:
        return ["CONSTRAINT", name[1], constraint] if name else [constraint]

    definitions: list[str] = []
    plain = 0
    for number, (_, written) in enumerate(columns):
        words = [written, draw(st.sampled_from(TYPES))]
        default = generated = lonely = None
        kinds = draw(st.lists(st.sampled_from(KINDS)))
        for kind in kinds:
            can_generate = generated is None and default is None and (plain or number < len(columns) - 1)
            if (kind == "default" and default is not None) or (kind == "generated" and not can_generate):
                continue
            name = draw(label)
            # A name that stands alone is that of the next constraint which has none.
            effective, lonely = name or lonely, None
            if kind == "notnull":
                words += named("NOT NULL ON CONFLICT ABORT", name)
            elif kind == "null":
                words += named("NULL", name)
            elif kind == "default":
                text, default = draw(st.sampled_from(DEFAULTS))
                words += named("DEFAULT " + text, name)
            elif kind == "check":
                expression = draw(st.sampled_from(EXPRESSIONS))
                made.checks.append(Check(sql=expression.strip(), name=effective[0] if effective else None))
                words += [*named("CHECK", name), f"({expression})"]
            elif kind == "collate":
                words += named("COLLATE " + draw(st.sampled_from(["nocase", "RTRIM", '"binary"', "'NOCASE'"])), name)
            elif kind == "unique":
                words += named("UNIQUE ON CONFLICT IGNORE", name)
            elif kind == "fk":
                words += named("REFERENCES other ( x ) ON DELETE SET NULL MATCH full ON UPDATE NO ACTION", name)
                words += draw(st.sampled_from([[], ["NOT DEFERRABLE"], ["DEFERRABLE", "INITIALLY", "DEFERRED"]]))
            elif kind == "lonely":
                lonely = draw(written_names())
                words += ["CONSTRAINT", lonely[1]]
            else:
                generated = draw(st.sampled_from(EXPRESSIONS)).strip()
                words += [draw(st.sampled_from(["AS", "GENERATED ALWAYS AS"])), f"( {generated} )"]
                words += [draw(st.sampled_from(["", "VIRTUAL", "STORED"]))]
                break
        plain += generated is None
        made.defaults.append(default)
        made.generated.append(generated)
        definitions.append(draw(BLANK).join(word for word in words if word))
    constraints: list[str] = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(label)
        kind = draw(st.sampled_from(["check", "unique", "fk"]))
        column = draw(st.sampled_from(columns))
        if kind == "check":
            expression = draw(st.sampled_from(EXPRESSIONS))
            made.checks.append(Check(sql=expression.strip(), name=name[0] if name else None))
            words = [*named("CHECK", name), f"({expression})", draw(st.sampled_from(["", "ON CONFLICT FAIL"]))]
        elif kind == "unique":
            words = [*named("UNIQUE", name), f"({quote_ident(column[0])} COLLATE nocase DESC)"]
        else:
            words = [*named("FOREIGN KEY", name), f"({column[1]})", "REFERENCES other", "DEFERRABLE"]
        constraints.append(draw(BLANK).join(word for word in words if word))
    body = draw(BLANK).join([",", ""]).join(definitions)
    for constraint in constraints:
        first = constraint is constraints[0]
        body += ("," if first else draw(st.sampled_from([",", " "]))) + draw(BLANK) + constraint
    made.sql = f"CREATE TABLE {draw(written_names())[1]}{draw(BLANK)}({draw(BLANK)}{body}{draw(BLANK)})"
    return made


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=tables())
def test_reads_what_sqlite_accepts(made: Made) -> None:
    with closing(apsw.Connection(":memory:")) as sqlite:
        sqlite.execute(made.sql)
        [(name, sql)] = sqlite.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
        parsed = parse_create_table(sql)
        info = sqlite.execute(
            'SELECT name, "notnull", dflt_value, hidden FROM pragma_table_xinfo(?)', (name,)
        ).fetchall()
        collations = [sqlite.column_metadata("main", name, row[0])[1].upper() for row in info]
        references = sqlite.execute("SELECT DISTINCT id FROM pragma_foreign_key_list(?)", (name,)).fetchall()

    assert parsed.name == name
    assert [column.name for column in parsed.columns] == [row[0] for row in info]
    assert [column.not_null for column in parsed.columns] == [bool(row[1]) for row in info]
    assert [column.default_sql for column in parsed.columns] == [row[2] for row in info]
    assert [column.default_sql for column in parsed.columns] == made.defaults
    assert [(column.collation or "BINARY").upper() for column in parsed.columns] == collations
    assert [column.generated for column in parsed.columns] == [
        {0: None, 2: "virtual", 3: "stored"}[row[3]] for row in info
    ]
    assert [column.generated_sql for column in parsed.columns] == made.generated
    checks = [check for column in parsed.columns for check in column.checks] + list(parsed.checks)
    assert checks == made.checks
    assert len(parsed.foreign_keys) == len(references)


@settings(max_examples=150, deadline=None)
@given(name=NAME)
def test_a_quoted_name_is_one_identifier(name: str) -> None:
    assert unquote(quote_ident(name)) == name
    with closing(apsw.Connection(":memory:")) as sqlite:
        sqlite.execute(f"CREATE TABLE t({quote_ident(name)})")
        assert sqlite.execute("SELECT name FROM pragma_table_xinfo('t')").fetchall() == [(name,)]


def test_a_name_with_nul_is_refused() -> None:
    with pytest.raises(SchemaError, match="NUL"):
        quote_ident("a\0b")


def test_only_ascii_is_folded() -> None:
    # Python's own upper() would make the keyword PRIMARY of a column called `prımary`.
    assert fold_ascii("prımary ſ \u212a aZ") == "PRıMARY ſ \u212a AZ"
    assert parse_create_table("CREATE TABLE t(prımary, unıque)").columns[0].name == "prımary"


def deferred_in_sqlite(create: str) -> bool:
    """Whether SQLite itself lets an orphan stand until COMMIT."""
    with closing(apsw.Connection(":memory:")) as sqlite:
        sqlite.execute(f"PRAGMA foreign_keys = 1; CREATE TABLE p(id INTEGER PRIMARY KEY); {create}; BEGIN")
        try:
            sqlite.execute("INSERT INTO t(a) VALUES (1)")
        except apsw.ConstraintError:
            return False
        return True


@pytest.mark.parametrize(
    "create",
    [
        "CREATE TABLE t(a REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE t(a REFERENCES p)",
        "CREATE TABLE t(a REFERENCES p DEFERRABLE)",
        "CREATE TABLE t(a REFERENCES p DEFERRABLE INITIALLY IMMEDIATE)",
        "CREATE TABLE t(a REFERENCES p NOT DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE t(a REFERENCES p DEFAULT 1 DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE t(a REFERENCES p, b DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE t(a REFERENCES p DEFERRABLE INITIALLY DEFERRED, b NOT DEFERRABLE)",
        "CREATE TABLE t(a, FOREIGN KEY (a) REFERENCES p ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE t(a, FOREIGN KEY (a) REFERENCES p ON DELETE CASCADE)",
    ],
)
def test_deferral_is_what_sqlite_does(create: str) -> None:
    [key] = parse_create_table(create).foreign_keys
    assert key.deferred is deferred_in_sqlite(create)


def test_names_of_constraints() -> None:
    parsed = parse_create_table(
        """CREATE TABLE t(
            id INTEGER CONSTRAINT pk_t PRIMARY KEY DESC ON CONFLICT ROLLBACK AUTOINCREMENT,
            a INT CONSTRAINT nn NOT NULL CHECK (a > 0) CONSTRAINT fk_a REFERENCES p,
            b, c,
            CONSTRAINT uq UNIQUE (b, "c" COLLATE NOCASE DESC)
            CONSTRAINT fk_bc FOREIGN KEY (b, [c]) REFERENCES q(x, `y z`) ON UPDATE CASCADE
            CONSTRAINT lonely, CHECK (b <> c)
        )"""
    )
    assert parsed.primary_key_name == "pk_t"
    assert parsed.autoincrement
    # By the standard a name is the next constraint's only; `nn` does not name the CHECK.
    assert parsed.columns[1].checks == (Check(sql="a > 0"),)
    assert parsed.checks == (Check(sql="b <> c"),)
    assert parsed.uniques == (ParsedUnique(columns=("b", "c"), name="uq"),)
    assert parsed.foreign_keys == (
        ParsedForeignKey(columns=("a",), parent="p", name="fk_a"),
        ParsedForeignKey(columns=("b", "c"), parent="q", parent_columns=("x", "y z"), name="fk_bc"),
    )


@pytest.mark.parametrize(
    ("tail", "strict", "without_rowid"),
    [
        ("", False, False),
        (" STRICT", True, False),
        (" without /* x */ RowId", False, True),
        (" WITHOUT ROWID, STRICT", True, True),
        (" STRICT, WITHOUT ROWID -- end", True, True),
    ],
)
def test_table_options(tail: str, strict: bool, without_rowid: bool) -> None:
    parsed = parse_create_table(f"CREATE TABLE t(a INT PRIMARY KEY){tail}")
    assert (parsed.strict, parsed.without_rowid) == (strict, without_rowid)


def test_altered_and_derived_tables() -> None:
    with closing(apsw.Connection(":memory:")) as sqlite:
        sqlite.execute(
            "CREATE TABLE t(a -- first, really\n, CHECK (a > 0)) ; ALTER TABLE t ADD COLUMN [b c] TEXT DEFAULT 'x'"
        )
        sqlite.execute('ALTER TABLE t RENAME COLUMN a TO \'select\'; ALTER TABLE t RENAME TO "new ""t"')
        sqlite.execute("CREATE TABLE u AS SELECT 1 AS \"odd, name\", 'x' AS b, 1.5 AS [c)]")
        altered, derived = (
            parse_create_table(sql) for (sql,) in sqlite.execute("SELECT sql FROM sqlite_schema ORDER BY rowid")
        )
    assert altered.name == 'new "t'
    assert [column.name for column in altered.columns] == ["select", "b c"]
    assert altered.columns[1].default_sql == "'x'"
    assert derived == ParsedTable(name="u", columns=derived.columns)
    assert [column.name for column in derived.columns] == ["odd, name", "b", "c)"]


@pytest.mark.parametrize(
    ("terms", "expected", "where"),
    [
        ("a", [ParsedTerm(sql="a")], None),
        ("a DESC, b ASC", [ParsedTerm(sql="a", descending=True), ParsedTerm(sql="b")], None),
        ("desc", [ParsedTerm(sql="desc")], None),
        ("desc desc", [ParsedTerm(sql="desc", descending=True)], None),
        ("a + desc, b", [ParsedTerm(sql="a + desc"), ParsedTerm(sql="b")], None),
        ("a LIKE desc", [ParsedTerm(sql="a LIKE desc")], None),
        ("like desc", [ParsedTerm(sql="like", descending=True)], None),
        (
            "lower(a /* , */) COLLATE nocase desc",
            [ParsedTerm(sql="lower(a /* , */) COLLATE nocase", descending=True)],
            None,
        ),
        ("coalesce(a, ',', ')'), b", [ParsedTerm(sql="coalesce(a, ',', ')')"), ParsedTerm(sql="b")], None),
        ("a IS NULL DESC", [ParsedTerm(sql="a IS NULL", descending=True)], None),
        ("CASE a WHEN 1 THEN b END desc", [ParsedTerm(sql="CASE a WHEN 1 THEN b END", descending=True)], None),
        ("a", [ParsedTerm(sql="a")], "a > ';' AND (b IS NOT NULL)"),
    ],
)
def test_index_terms(terms: str, expected: list[ParsedTerm], where: str | None) -> None:
    with closing(apsw.Connection(":memory:")) as sqlite:
        sqlite.execute("CREATE TABLE t(a, b, desc, like)")
        condition = f" WHERE  {where} -- end" if where else " /* end */"
        sqlite.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS main.'the index' ON t ({terms}){condition}")
        [(sql,)] = sqlite.execute("SELECT sql FROM sqlite_schema WHERE type = 'index'").fetchall()
        descending = [
            bool(desc)
            for (desc,) in sqlite.execute('SELECT "desc" FROM pragma_index_xinfo(?) WHERE key', ("the index",))
        ]
    parsed = parse_create_index(sql)
    assert (parsed.name, parsed.table) == ("the index", "t")
    assert list(parsed.terms) == expected
    assert [term.descending for term in parsed.terms] == descending
    assert parsed.where_sql == where


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("CREATE TABLE t(a FROBNICATE (1) b)", "'t'.*column constraint"),
        ("CREATE TABLE t(a CHECK (b", "'t'.*closing parenthesis"),
        ("CREATE TABLE t(a, UNIQUE ())", "'t'.*empty"),
        ("CREATE TABLE t(a) WITH ROWID", "'t'.*STRICT"),
        ("CREATE TABLE t(a DEFAULT )", "'t'.*default"),
        ("CREATE VIEW v AS SELECT 1", "expected TABLE"),
        ("CREATE TABLE t(a, ?)", "unreadable"),
        ("", "expected CREATE, found the end"),
    ],
)
def test_what_cannot_be_read_is_refused(sql: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        parse_create_table(sql)
