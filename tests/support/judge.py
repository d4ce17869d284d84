"""An independent judge: SQLite file against Postgres database, with code that shares nothing with the package.

The standard library's sqlite3 with bytes for text on one side, plain text SELECTs on the other. Rows are matched as
multisets; a value must mean the same on both sides, or `nasmigrate.originals` must hold it exactly as it is stored.
As a script it prints what differs and ends with 1:

    python -m tests.support.judge FILE DSN
"""

from __future__ import annotations

import json
import re
import sqlite3
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import psycopg
from psycopg import sql

Stored = tuple[str, object]
"""A value of SQLite: its storage class and what sqlite3 gives for it, text as bytes."""


@dataclass(slots=True)
class Verdict:
    """What was compared and what differs. `values` counts values compared of all those present, NULLs included."""

    tables: int = 0
    values: int = 0
    present: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column. `target` = its name in Postgres; `numeric` = number affinity in SQLite, where text that looks like
    a number is one.
    """

    name: str
    target: str
    pg_type: str
    numeric: bool


_SEND = {
    "bigint": "int8send",
    "boolean": "boolsend",
    "bytea": "",
    "date": "date_send",
    "double precision": "float8send",
    "json": "json_send",
    "jsonb": "jsonb_send",
    "numeric": "numeric_send",
    "text": "textsend",
    "time without time zone": "time_send",
    "timestamp with time zone": "timestamptz_send",
    "timestamp without time zone": "timestamp_send",
    "uuid": "uuid_send",
}
_SHADOWS = "data idx content docsize config segments segdir stat node rowid parent".split()  # noqa: SIM905
"""What the tables are called that FTS3 to FTS5 and R-Tree keep for themselves."""
_VARIABLE = {"bytea", "json", "jsonb", "numeric", "text"}

# -- what a stored value is in Postgres, and what Postgres' text says ---------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JULIAN_1970 = Fraction("2440587.5")
"""The Julian day of that moment; SQLite reads Julian days to the millisecond."""
_MOMENT = re.compile(
    r"(?:(\d{4})-(\d\d)-(\d\d))?[T ]?(?:(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)? ?(Z|[+-]\d\d(?::?\d\d)?)?"
)


def _moment(text: str) -> tuple[object, ...] | None:
    """(what it is, number) of a date, a time or both; microseconds, in UTC where an offset is given."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    clock = ((int(hour or 0) * 60 + int(minute or 0)) * 60 + int(second or 0)) * 1_000_000
    clock += int((fraction or "").ljust(6, "0"))
    if year is None:
        return ("time", clock)
    if hour is None:
        return ("date", year, month, day)
    days = (datetime(int(year), int(month), int(day), tzinfo=UTC) - _EPOCH).days
    moment = days * 86_400_000_000 + clock
    if offset and offset != "Z":
        sign, digits = (-1 if offset[0] == "-" else 1), offset[1:].replace(":", "").ljust(4, "0")
        moment -= sign * (int(digits[:2]) * 60 + int(digits[2:])) * 60_000_000
    return ("moment", moment)


def _from_text(pg_type: str, text: str) -> Hashable:
    """Postgres' text as something that equal values share."""
    if pg_type == "double precision":
        return struct.pack("<d", float(text))
    if pg_type == "numeric":
        return Decimal(text).normalize()
    if pg_type == "bytea":
        return bytes.fromhex(text.removeprefix("\\x"))
    if pg_type.startswith(("date", "time")):
        return _moment(text)
    if pg_type == "boolean":
        return {"true": 1, "false": 0}[text]
    return int(text) if pg_type == "bigint" else text.encode()


def _from_stored(column: _Column, value: Stored) -> Hashable:
    """The same of a stored value that stands in this column without an original; None = it cannot."""
    kind, what = value
    number = column.pg_type in ("bigint", "boolean", "double precision", "numeric")
    if isinstance(what, int) and number:
        if column.pg_type == "double precision":
            return struct.pack("<d", float(what)) if int(float(what)) == what else None
        return Decimal(what).normalize() if column.pg_type == "numeric" else what
    if isinstance(what, float) and column.pg_type in ("double precision", "numeric"):
        if column.pg_type == "numeric":
            return Decimal(repr(what)).normalize()
        return struct.pack("<d", what)
    if isinstance(what, int | float) and column.pg_type in ("text", "json", "jsonb") and column.numeric:
        return repr(what).encode()
    if kind == "text" and column.pg_type.startswith(("date", "time")):
        assert isinstance(what, bytes)
        return _moment(what.decode())
    if kind == "text" and column.pg_type in ("text", "json", "jsonb", "uuid"):
        return what
    return what if column.pg_type == "bytea" else None


def _same_moment(text: str, value: Stored) -> bool:
    """A number that became a moment: seconds, milliseconds or microseconds since 1970, or a Julian day."""
    moment = _moment(text)
    if moment is None or moment[0] != "moment" or not isinstance(value[1], int | float):
        return False
    micros = int(str(moment[1]))
    if isinstance(value[1], float) and micros == round((Fraction(value[1]) - _JULIAN_1970) * 86_400_000) * 1000:
        return True
    return any(
        timedelta(microseconds=micros) == timedelta(microseconds=int(value[1] * unit))
        for unit in (1, 1_000, 1_000_000)
        if abs(value[1] * unit) < 2**58
    )


def _means(column: _Column, text: str | None, value: Stored, original: Stored | None) -> bool:
    if original is not None:
        return _exact(original) == _exact(value)
    if text is None or value[1] is None:
        return text is None and value[1] is None
    stored = _from_stored(column, value)
    if stored is not None:
        return stored == _from_text(column.pg_type, text)
    return column.pg_type.startswith("timestamp") and _same_moment(text, value)


def _exact(value: Stored) -> tuple[str, bytes]:
    kind, what = value
    if isinstance(what, float):
        return kind, struct.pack(">d", what)
    if isinstance(what, int):
        return kind, struct.pack(">q", what)
    assert what is None or isinstance(what, bytes)
    return kind, what or b""


def _original(kind: str, raw: bytes) -> Stored:
    if kind == "integer":
        return kind, struct.unpack(">q", raw)[0]
    return kind, struct.unpack(">d", raw)[0] if kind == "real" else raw


# -- the two sides ------------------------------------------------------------------------------------------------


def judge(source: Path, conninfo: str, names: Mapping[str, str] | None = None) -> Verdict:
    """Compare every table of `source` with its namesake in the schema public.

    `names` tells what tables, and columns as `table.column`, are called there if that is not their own name.
    """
    verdict = Verdict()
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as file,
        psycopg.connect(conninfo) as server,
    ):
        file.text_factory = bytes
        for setting in ("extra_float_digits = 1", "bytea_output = hex", "TimeZone = 'UTC'", "DateStyle = 'ISO, YMD'"):
            server.execute(sql.SQL("SET " + setting))  # type: ignore[arg-type]
        encoding = file.execute("PRAGMA encoding").fetchone()[0].decode()
        tables = file.execute(
            "SELECT name FROM sqlite_master t WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
            " AND sql NOT LIKE 'CREATE VIRTUAL%' AND NOT EXISTS (SELECT 1 FROM sqlite_master v"
            " WHERE v.sql LIKE 'CREATE VIRTUAL%' AND t.name IN"
            " (SELECT v.name || '_' || value FROM json_each(?)))",
            (json.dumps(_SHADOWS),),
        ).fetchall()
        for (name,) in tables:
            _table(verdict, file, server, name.decode(), encoding, names or {})
    return verdict


def _table(
    verdict: Verdict,
    file: sqlite3.Connection,
    server: psycopg.Connection,
    table: str,
    encoding: str,
    names: Mapping[str, str],
) -> None:
    verdict.tables += 1
    quoted = _quote(table)
    target = names.get(table, table)
    (ours,) = file.execute(f"SELECT count(*) FROM {quoted}").fetchone()
    identifier = sql.Identifier("public", target)
    if server.execute("SELECT to_regclass(%s)", (identifier.as_string(server),)).fetchone() == (None,):
        verdict.differences.append(f"{table}: not in Postgres")
        return
    counted = server.execute(sql.SQL("SELECT count(*) FROM {}").format(identifier)).fetchone()
    aside = _rows_aside(server, table)
    if counted != (ours - len(aside),):
        verdict.differences.append(f"{table}: {ours} rows, Postgres has {counted} and {len(aside)} set aside")
        return
    types = dict(
        server.execute(
            "SELECT column_name::text, data_type::text FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = %s",
            (target,),
        ).fetchall()
    )
    # hidden: 0 ordinary, 2 and 3 generated. The judge looks at all of them.
    declared = {row[1].decode(): row[2].decode() for row in file.execute(f"PRAGMA table_xinfo({quoted})")}
    called = {name: names.get(f"{table}.{name}", name) for name in declared}
    if sorted(called.values()) != sorted(types):
        verdict.differences.append(f"{table}: columns {sorted(called.values())}, Postgres has {sorted(types)}")
        return
    columns = [
        _Column(name=name, target=called[name], pg_type=types[called[name]], numeric=_is_numeric(declared[name]))
        for name in declared
    ]
    left = _stored_rows(file, quoted, columns, encoding)
    right = _target_rows(server, table, target, columns)
    verdict.present += ours * len(columns)
    for row in aside:
        _take_aside(verdict, table, columns, left, row)
    _match(verdict, table, columns, left, right)


def _stored_rows(
    file: sqlite3.Connection, table: str, columns: Iterable[_Column], encoding: str
) -> list[tuple[Stored, ...]]:
    names = [_quote(column.name) for column in columns]
    # Text as it is stored: on its way from UTF-16, SQLite makes some other character of half a surrogate pair.
    values = [f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END" for name in names]
    terms = ", ".join(f"typeof({name}), {value}" for name, value in zip(names, values, strict=True))
    return [
        tuple(_utf8(kind.decode(), value, encoding) for kind, value in zip(row[::2], row[1::2], strict=True))
        for row in file.execute(f"SELECT {terms} FROM {table}")
    ]


def _utf8(kind: str, value: object, encoding: str) -> Stored:
    """Text of a UTF-16 file as UTF-8, where it is valid; what is not, but is valid UTF-8, is told apart."""
    if kind != "text" or encoding == "UTF-8" or not isinstance(value, bytes):
        return kind, value
    try:
        return kind, value.decode({"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}[encoding]).encode()
    except UnicodeDecodeError:
        pass
    try:
        value.decode()
    except UnicodeDecodeError:
        return kind, value
    return "raw text", value


Cell = tuple[str | None, Stored | None]


def _rows_aside(server: psycopg.Connection, table: str) -> list[dict[str, Stored]]:
    """The rows of the side table, by column: each value with its class."""
    rows: dict[int, dict[str, Stored]] = defaultdict(dict)
    for ordinal, column, kind, raw in server.execute(
        "SELECT ordinal, column_name, storage_class, value FROM nasmigrate.quarantine WHERE table_name = %s", (table,)
    ).fetchall():
        rows[ordinal][column] = ("null", None) if kind == "null" else _original(str(kind), bytes(raw))
    return list(rows.values())


def _take_aside(
    verdict: Verdict, table: str, columns: list[_Column], left: list[tuple[Stored, ...]], row: dict[str, Stored]
) -> None:
    """Find a row of the side table in SQLite: every value that it has, exactly; it has no generated ones."""
    for place, stored in enumerate(left):
        pairs = zip(columns, stored, strict=True)
        if all(_exact(row[c.name]) == _exact(value) for c, value in pairs if c.name in row):
            del left[place]
            verdict.values += len(columns)
            return
    verdict.differences.append(f"{table}: set aside, and not in SQLite: {row}")


def _target_rows(server: psycopg.Connection, table: str, target: str, columns: list[_Column]) -> list[tuple[Cell, ...]]:
    """Each value as text, with its original where there is one."""
    kept: dict[tuple[bytes, str], list[Stored]] = defaultdict(list)
    # By ordinal: equal rows of a table without a key take their originals in turn.
    for key, column, kind, raw in server.execute(
        "SELECT key, column_name, storage_class, value FROM nasmigrate.originals WHERE table_name = %s"
        " ORDER BY ordinal DESC",
        (table,),
    ).fetchall():
        kept[bytes(key), str(column)].append(_original(str(kind), bytes(raw)))
    sends = {column.target: _sent(column) for column in columns}
    row = sql.SQL(" || ").join(
        [sql.SQL("int2send({}::int2)").format(sql.Literal(len(columns)))]
        + [
            sql.SQL("coalesce(int4send(length({0})) || {0}, int4send(-1))").format(sends[column.target])
            for column in columns
        ]
    )
    keys = [sql.SQL("sha256({})").format(row)]
    constrained = server.execute(
        "SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i,"
        " unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n), pg_attribute a"
        " WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL"
        " AND a.attrelid = i.indrelid AND a.attnum = k.attnum GROUP BY i.indexrelid",
        (sql.Identifier("public", target).as_string(server),),
    ).fetchall()
    by_name = {column.target: column for column in columns}
    for (names,) in constrained:
        keys.append(sql.SQL(" || ").join(_key_part(by_name[name], sends[name]) for name in names))
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.target)) for column in columns)
    query = sql.SQL("SELECT {}, {} FROM {}").format(
        texts, sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(keys)), sql.Identifier("public", target)
    )
    rows = []
    for *values, identities in server.execute(query).fetchall():
        cells: list[Cell] = []
        for column, value in zip(columns, values, strict=True):
            original = None
            for identity in identities:
                waiting = kept.get((bytes(identity), column.name)) if identity is not None else None
                if waiting:
                    original = waiting.pop()
                    break
            cells.append((value, original))
        rows.append(tuple(cells))
    unused = sum(map(len, kept.values()))
    if unused:
        rows.append(tuple((f"{unused} originals belong to no row", None) for _ in columns))
    return rows


def _sent(column: _Column) -> sql.Composable:
    name = sql.Identifier(column.target)
    send = _SEND[column.pg_type]
    return sql.SQL("{}({})").format(sql.SQL(send), name) if send else name  # type: ignore[arg-type]


def _key_part(column: _Column, sent: sql.Composable) -> sql.Composable:
    return sql.SQL("int4send(length({0})) || {0}").format(sent) if column.pg_type in _VARIABLE else sent


def _match(
    verdict: Verdict,
    table: str,
    columns: list[_Column],
    left: list[tuple[Stored, ...]],
    right: list[tuple[Cell, ...]],
) -> None:
    """Find for each row of Postgres the row of SQLite that it is: quickly by the columns that can be looked up."""
    plain = [
        position
        for position, column in enumerate(columns)
        if all(row[position][1] is None for row in right)
        and all(row[position][1] is None or _from_stored(column, row[position]) is not None for row in left)
    ]
    waiting: dict[Hashable, list[tuple[Stored, ...]]] = defaultdict(list)
    for stored in left:
        waiting[tuple(None if stored[p][1] is None else _from_stored(columns[p], stored[p]) for p in plain)].append(
            stored
        )
    missing: Counter[str] = Counter()
    # Bytes say nothing of their class: without originals, all of a column must be of one.
    bare: dict[str, set[str]] = defaultdict(set)
    for row in right:
        texts = [row[p][0] for p in plain]
        try:
            key = tuple(
                None if text is None else _from_text(columns[p].pg_type, text)
                for p, text in zip(plain, texts, strict=True)
            )
        except (ValueError, KeyError):
            key = ("no such value",)
        candidates = waiting.get(key, [])
        for place, stored in enumerate(candidates):
            if all(_means(columns[p], *_cell(row[p], stored[p])) for p in range(len(columns)) if p not in plain):
                del candidates[place]
                verdict.values += len(columns)
                for column, cell, value in zip(columns, row, stored, strict=True):
                    if column.pg_type == "bytea" and cell[1] is None and value[1] is not None:
                        bare[column.name].add(value[0])
                break
        else:
            missing[f"{table}: only in Postgres: {row}"] += 1
    verdict.differences += list(missing)
    verdict.differences += [
        f"{table}.{name}: {kinds} without originals" for name, kinds in bare.items() if len(kinds) > 1
    ]
    verdict.differences += [f"{table}: only in SQLite: {row}" for rows in waiting.values() for row in rows]


def _cell(cell: Cell, stored: Stored) -> tuple[str | None, Stored, Stored | None]:
    return cell[0], stored, cell[1]


def _is_numeric(declared: str) -> bool:
    """Affinity INTEGER, REAL or NUMERIC; https://sqlite.org/datatype3.html section 3.1."""
    name = declared.upper()
    if "INT" in name:
        return True
    return bool(name) and not any(word in name for word in ("CHAR", "CLOB", "TEXT", "BLOB"))


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def main(arguments: list[str]) -> int:
    """Judge a file and a database from the command line."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m tests.support.judge FILE DSN\n")
        return 2
    verdict = judge(Path(arguments[0]), arguments[1])
    for difference in verdict.differences:
        sys.stdout.write(difference + "\n")
    sys.stdout.write(
        f"{verdict.values} of {verdict.present} values in {verdict.tables} tables compared,"
        f" {len(verdict.differences)} differences\n"
    )
    return 1 if verdict.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
