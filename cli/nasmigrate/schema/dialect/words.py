"""Rules that a function's name or a few words tell. A row is (what to find, rule, what is otherwise, what to write)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot.tokenizer_core import TokenType

from nasmigrate.schema.dialect.statement import Hit, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A function (`functions`) or a sequence of words (`phrases`) that Postgres has not, or means otherwise."""

    rule: str
    message: str
    fix: str
    functions: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    least_arguments: int = 0


_NO_FUNCTION = "Postgres has no such function"

WORDS: tuple[Word, ...] = (
    Word(
        rule="moment-function",
        functions=("datetime",),
        message=_NO_FUNCTION,
        fix="to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') where the column is text; now(), or"
        " now() - interval '7 days', where it is a timestamp",
    ),
    Word(
        rule="moment-function",
        functions=("date", "time"),
        least_arguments=2,
        message="takes one value in Postgres, and no modifiers such as '-7 days'",
        fix="CURRENT_DATE - interval '7 days'; column::date",
    ),
    Word(rule="moment-function", functions=("strftime",), message=_NO_FUNCTION, fix="to_char(column, 'YYYY-MM')"),
    Word(
        rule="moment-function",
        functions=("julianday",),
        message=_NO_FUNCTION,
        fix="a difference of two timestamps is an interval; extract(epoch FROM a - b) / 86400 gives days",
    ),
    Word(
        rule="moment-function",
        functions=("unixepoch",),
        message=_NO_FUNCTION,
        fix="extract(epoch FROM column)::bigint",
    ),
    Word(rule="function", functions=("ifnull",), message=_NO_FUNCTION, fix="coalesce(a, b): the same in both"),
    Word(rule="function", functions=("iif", "if"), message=_NO_FUNCTION, fix="CASE WHEN a THEN b ELSE c END"),
    Word(rule="function", functions=("group_concat",), message=_NO_FUNCTION, fix="string_agg(column::text, ',')"),
    Word(rule="function", functions=("total",), message=_NO_FUNCTION, fix="coalesce(sum(column), 0)"),
    Word(rule="function", functions=("instr",), message=_NO_FUNCTION, fix="strpos(text, part)"),
    Word(rule="function", functions=("char",), message=_NO_FUNCTION, fix="chr(code)"),
    Word(rule="function", functions=("unicode",), message=_NO_FUNCTION, fix="ascii(text)"),
    Word(rule="function", functions=("hex",), message=_NO_FUNCTION, fix="upper(encode(column, 'hex'))"),
    Word(rule="function", functions=("unhex",), message=_NO_FUNCTION, fix="decode(text, 'hex')"),
    Word(rule="function", functions=("randomblob",), message=_NO_FUNCTION, fix="gen_random_uuid(), or make it in code"),
    Word(rule="function", functions=("zeroblob",), message=_NO_FUNCTION, fix="decode(repeat('00', n), 'hex')"),
    Word(rule="function", functions=("printf",), message=_NO_FUNCTION, fix="format() knows only %s, %I, %L; to_char()"),
    Word(rule="function", functions=("typeof",), message=_NO_FUNCTION, fix="pg_typeof(column); a column has one type"),
    Word(rule="function", functions=("sqlite_version",), message=_NO_FUNCTION, fix="version()"),
    Word(
        rule="function",
        functions=("changes", "total_changes"),
        message=_NO_FUNCTION,
        fix="the driver's row count (rowCount), or RETURNING",
    ),
    Word(
        rule="function",
        functions=("round",),
        least_arguments=2,
        message="Postgres rounds to places only for numeric",
        fix="round(column::numeric, 2)",
    ),
    Word(
        rule="function",
        functions=("min", "max"),
        least_arguments=2,
        message="min and max of several arguments are least and greatest in Postgres, which leave NULLs out",
        fix="least(a, b), greatest(a, b)",
    ),
    Word(
        rule="json-function",
        functions=("json_extract",),
        message=_NO_FUNCTION,
        fix="column::jsonb ->> 'key', column::jsonb #>> '{a,b}'",
    ),
    Word(
        rule="json-function",
        functions=("json_each", "json_tree"),
        message="other columns in Postgres",
        fix="jsonb_array_elements(column::jsonb), jsonb_each(column::jsonb)",
    ),
    Word(rule="json-function", functions=("json_group_array",), message=_NO_FUNCTION, fix="jsonb_agg(column)"),
    Word(rule="json-function", functions=("json_group_object",), message=_NO_FUNCTION, fix="jsonb_object_agg(k, v)"),
    Word(
        rule="json-function",
        functions=("json_set", "json_insert", "json_replace"),
        message=_NO_FUNCTION,
        fix="jsonb_set(column::jsonb, '{key}', value)",
    ),
    Word(rule="json-function", functions=("json_valid",), message=_NO_FUNCTION, fix="column IS JSON (Postgres 16)"),
    Word(rule="json-function", functions=("json", "jsonb"), message=_NO_FUNCTION, fix="text::jsonb"),
    Word(
        rule="last-insert-id",
        functions=("last_insert_rowid",),
        message="Postgres has no last inserted row",
        fix="INSERT … RETURNING id, in the same statement",
    ),
    Word(
        rule="like-case",
        phrases=("like",),
        message="LIKE takes no notice of ASCII case in SQLite, in Postgres it does",
        fix="ILIKE, or lower(column) LIKE lower(pattern)",
    ),
    Word(
        rule="glob",
        phrases=("glob",),
        message="Postgres has no GLOB",
        fix="LIKE with % and _ (both keep case), or ~ with a regular expression",
    ),
    Word(rule="full-text", phrases=("match",), message="Postgres has no MATCH", fix="to_tsvector(column) @@ query"),
    Word(
        rule="insert-or",
        phrases=("insert or replace", "replace into"),
        message="OR REPLACE deletes the rows in the way first; Postgres has only ON CONFLICT",
        fix="INSERT … ON CONFLICT (key) DO UPDATE SET column = excluded.column, …: it keeps what it does not name",
    ),
    Word(
        rule="insert-or",
        phrases=("insert or ignore", "update or ignore"),
        message="OR IGNORE is no syntax of Postgres",
        fix="INSERT … ON CONFLICT DO NOTHING; it does not hide NOT NULL or CHECK",
    ),
    Word(
        rule="insert-or",
        phrases=("insert or abort", "insert or fail", "insert or rollback", "update or replace"),
        message="an OR clause is no syntax of Postgres",
        fix="leave it out: a failed statement of Postgres ends its transaction",
    ),
    Word(
        rule="catalogue",
        phrases=("sqlite_master", "sqlite_schema", "sqlite_sequence"),
        message="Postgres has another catalogue",
        fix="information_schema.tables, to_regclass('name')",
    ),
    Word(rule="statement", phrases=("pragma",), message="Postgres has no PRAGMA", fix="leave it out, or SET"),
    Word(rule="statement", phrases=("attach",), message="Postgres has no ATTACH", fix="one database, several schemas"),
    Word(
        rule="statement",
        phrases=("begin immediate", "begin exclusive", "begin deferred"),
        message="Postgres has no kinds of BEGIN; writers do not wait for each other, rows do",
        fix="BEGIN; where a read decides a write: SELECT … FOR UPDATE, or ISOLATION LEVEL SERIALIZABLE",
    ),
    Word(
        rule="statement",
        phrases=("autoincrement", "without rowid"),
        message="no syntax of Postgres",
        fix="the tables are made by the migration; leave CREATE TABLE to it",
    ),
    Word(rule="statement", phrases=("indexed by", "not indexed"), message="no syntax of Postgres", fix="leave it out"),
    Word(
        rule="collation",
        phrases=("collate nocase",),
        message="Postgres has no collation NOCASE",
        fix='lower(column COLLATE "C") on both sides: the index made for it is used',
    ),
    Word(
        rule="collation",
        phrases=("collate rtrim", "collate binary"),
        message="Postgres has no such collation",
        fix="rtrim(column, ' '); BINARY is COLLATE \"C\", which the migration gives to every text column",
    ),
    Word(
        rule="equality",
        phrases=("==",),
        message="Postgres has no ==",
        fix="=",
    ),
)

_BY_FUNCTION = {name: word for word in WORDS for name in word.functions}
_PHRASES = tuple((tuple(phrase.split()), word) for word in WORDS for phrase in word.phrases)


def find_words(statement: Statement) -> Iterator[Hit]:
    """Every place of `WORDS` in the statement."""
    for index, name in statement.calls():
        word = _BY_FUNCTION.get(name)
        if word is not None and len(statement.arguments(index)) >= word.least_arguments:
            yield _hit(statement, word, index, f"{name}()")
    words, numbers = _flat(statement)
    position = 0
    while position < len(words):
        for phrase, word in _PHRASES:
            if words[position : position + len(phrase)] == phrase:
                yield _hit(statement, word, numbers[position], " ".join(phrase).upper())
                position += len(phrase) - 1
                break
        position += 1


def _flat(statement: Statement) -> tuple[tuple[str, ...], list[int]]:
    """Lower-case words and the token each is in: sqlglot makes one token of some pairs (ORDER BY)."""
    words: list[str] = []
    numbers: list[int] = []
    for number, token in enumerate(statement.tokens):
        quoted = token.token_type == TokenType.IDENTIFIER
        for part in ("",) if quoted else statement.word(number).split() or ("",):
            # A column may be called like a keyword; a name after a dot is one.
            words.append("" if statement.word(number - 1) == "." else part)
            numbers.append(number)
    return tuple(words), numbers


def _hit(statement: Statement, word: Word, token: int, found: str) -> Hit:
    return Hit(rule=word.rule, offset=statement.tokens[token].start, found=found, message=word.message, fix=word.fix)
