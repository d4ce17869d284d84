"""Hypothesis strategies: values of every storage class, names nobody should choose, and whole SQLite databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

MAX_BYTES = 63
"""Bytes of a name that Postgres takes."""


@dataclass(frozen=True, slots=True)
class Cast:
    """TEXT written as CAST(x'…' AS TEXT): its bytes need not be valid in any encoding."""

    raw: bytes


Value = int | float | str | bytes | Cast | None

_INTEGER_EDGES = (
    *(0, 1, -1, 2, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1),
    *(2**63 - 1, -(2**63), 1704067200, 1704067200123, 20240102),
)
_REAL_EDGES = (
    *(0.0, -0.0, 1.0, 1.5, 0.1, 0.1 + 0.2, 110.00000000000001, 1998.9999999999998, 12.345, -2.5),
    *(5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, float("inf"), float("-inf")),
    *(1e15, 1e16, 1e17, 1e22, 1e23, 2.0**53, 2.0**53 + 2, 2.0**63, -(2.0**63), 1e-7, 123456789012345.67),
)
_TEXT_EDGES = (
    *("", " ", "a", "A", "a ", "é", "e\u0301", "\ufeffx", "\uffff", "\ufffd", "😀", "ı", "ſ", "\u212a"),
    *("0", "1", "007", "12", " 12", "12 ", "12abc", "+5", "5.", "-0", "-0.0", "1.0", "1.50", "1e5", "1e400"),
    *("9007199254740993", "9223372036854775808", "0x10", "９", "inf", "-inf", "nan", "NaN", "Infinity"),
    *("true", "false", "t", "yes", "NULL", "null", "\\N", "\\.", "\\x6162", "%s", "%%", "'", '"', "\\", "\t", "\r\n"),
    *("now", "today", "infinity", "epoch", "2024-01-02", "2024-01-02 03:04:05", "2024-01-02T03:04:05.678Z"),
    *("2024-02-30", "2024-01-02 24:00:00", "0000-00-00", "0001-01-01", "9999-12-31", "10000-01-01", "20240102"),
    *('{"a": 1}', "[1,2]", "00000000-0000-4000-8000-000000000000", "a\x00b", "\x00", "x" * 300),
)
_BLOB_EDGES = (b"", b"\x00", b"a", b"5", b"\xff\xfe", b"\xed\xa0\x80", b"\\x61", b"\x00" * 9, b"2024-01-02")

integers = st.sampled_from(_INTEGER_EDGES) | st.integers(-9, 9) | st.integers(-(2**63), 2**63 - 1)
reals = st.sampled_from(_REAL_EDGES) | st.floats(allow_nan=False) | st.integers(-9, 9).map(lambda n: n / 4)
any_text = st.sampled_from(_TEXT_EDGES) | st.text(max_size=12)
"""Text as a str can hold it, NUL included; no lone surrogates."""
plain_text = any_text.filter(lambda text: "\x00" not in text)
blobs = st.sampled_from(_BLOB_EDGES) | st.binary(max_size=12)
casts = st.sampled_from(
    [
        b"\xff",
        b"\xffA",
        b"\xed\xa0\x80",
        b"\xc3\xa9",
        b"\x80",
        b"a\x00\xff",
        b"\xf0\x9f\x98",
        b"\xd8\x80",
        b"A\xd8\x80A",
        b"",
    ]
).map(Cast)

_date = st.dates().map(lambda d: f"{d.year:04d}-{d.month:02d}-{d.day:02d}")
_clock = st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999_999))


@st.composite
def shapes(draw: st.DrawFn) -> str:
    """A shape as the temporal codecs name it."""
    date = draw(st.booleans())
    clock = draw(st.booleans()) or not date
    if not clock:
        return "YYYY-MM-DD"
    seconds = draw(st.booleans())
    digits = draw(st.integers(0, 6)) if seconds else 0
    shape = (f"YYYY-MM-DD{draw(st.sampled_from(' T'))}" if date else "") + "HH:II" + (":SS" if seconds else "")
    shape += "." + "f" * digits if digits else ""
    if date:
        hours, minutes, sign = draw(st.integers(0, 15)), draw(st.integers(0, 59)), draw(st.sampled_from("+-"))
        offset = f"{sign}{hours:02d}:{minutes:02d}"
        shape += draw(st.sampled_from(["", "Z", offset, f" {offset}"]))
    return shape


@st.composite
def moments(draw: st.DrawFn, shape: str) -> str:
    """A stored value of a shape, from year 1 to year 9999."""
    hour, minute, second, micro = draw(st.sampled_from([(0, 0, 0, 0), (23, 59, 59, 999_999), (12, 0, 0, 1)]) | _clock)
    text = shape
    if "YYYY" in shape:
        text = draw(st.sampled_from(["0001-01-01", "9999-12-31", "2000-02-29", "1900-03-01"]) | _date) + text[10:]
    digits = shape.count("f")
    text = text.replace("HH", f"{hour:02d}").replace("II", f"{minute:02d}").replace("SS", f"{second:02d}")
    return text.replace("f" * digits, f"{micro:06d}"[:digits]) if digits else text


# -- names ---------------------------------------------------------------------------------------------------

HOSTILE = (
    *("a b", 'a"b', '"', "it's", "select", "order", "user", "table", "Naïve", "😀", "100%", "%s", "%(x)s", "%%"),
    *(":name", "a:b", "back\\slash", "\\", "semi;colon", "--c", "/*c*/", "a.b", "{}", "{0}", "$1", "$$", "?", "tab\tx"),
    *("new\nline", "\u202eabc", "rowid", "_rowid_", "oid", "]", "[x]", "`", "a,b", "(x)", "public", "nasmigrate"),
    *("NULL", "1abc", " lead", "trail ", "s", "d", "b", "r", "q", "key", "E'x'", "U&x", "x_pkey", "É", "é", "a\u0301"),
    *("alembic_version", "pg_class", "value", "default", "check", "x" * 63, "é" * 31),
)
_PLAIN = ("id", "a", "b", "c", "name", "Amount", "created_at", "t1")


def _usable(name: str) -> bool:
    reserved = name.lower().startswith("sqlite_") or name in ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
    return 0 < len(name.encode()) <= MAX_BYTES and "\x00" not in name and not reserved


names = st.sampled_from(_PLAIN) | st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=8)
usable_names = names.filter(_usable)


def fold(name: str) -> str:
    """As SQLite compares names: ASCII letters without case."""
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in name)


def quote(name: str) -> str:
    """A name as a double-quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


# -- databases -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A SQLite database to be made: statements of DDL, then rows, then statements again.

    Rows that the tables' own constraints refuse are left out, as an application would see it.
    """

    encoding: str
    ddl: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], tuple[tuple[Value, ...], ...]], ...]
    after: tuple[str, ...] = ()

    def write(self, path: Path) -> int:
        """Make the file at `path`, which must not exist; how many rows it holds."""
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute(f"PRAGMA encoding = '{self.encoding}'")
            file.execute("PRAGMA synchronous = OFF")
            file.execute("BEGIN")
            for statement in self.ddl:
                file.execute(statement)
            for table, columns, rows in self.rows:
                for row in rows:
                    self._insert(file, table, columns, row)
            for statement in self.after:
                file.execute(statement)
            count = sum(file.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0] for table, _, _ in self.rows)
            file.execute("COMMIT")
        return int(count)

    @staticmethod
    def _insert(file: sqlite3.Connection, table: str, columns: Sequence[str], row: Sequence[Value]) -> None:
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, Cast) else "?" for value in row)
        values = [value.raw if isinstance(value, Cast) else value for value in row]
        try:
            file.execute(f"INSERT INTO {quote(table)} ({', '.join(map(quote, columns))}) VALUES ({marks})", values)
        except sqlite3.IntegrityError:
            return


_DECLARED = (
    *("INTEGER", "INT", "BIGINT", "SMALLINT", "TINYINT(1)", "BOOLEAN", "unsigned big int", "REAL", "DOUBLE", "FLOAT"),
    *("NUMERIC", "DECIMAL(10,2)", "DATE", "DATETIME", "TIMESTAMP", "TIME", "TEXT", "VARCHAR(3)", "CLOB", "BLOB", ""),
    *("JSON", "UUID", "STRING", "CHARINT", "FLOATING POINT"),
)
_STRICT = ("INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY")
_DEFAULTS = ("NULL", "0", "-1", "1.5", "'x'", "'it''s'", "x'00ff'", "CURRENT_TIMESTAMP", "(1 + 2)", "''", "TRUE")
_CLASSES: dict[str, st.SearchStrategy[Value]] = {
    "integer": integers,
    "small": st.integers(-3, 3),
    "boolean": st.integers(0, 1),
    "real": reals,
    "text": plain_text,
    "word": st.sampled_from(["a", "A", "a ", "b", "B", "é"]),
    "nul": any_text,
    "blob": blobs,
    "cast": casts,
    "digits": st.integers(-(10**6), 10**6).map(str),
}


@st.composite
def contents(draw: st.DrawFn) -> st.SearchStrategy[Value]:
    """A strategy for the values of one column: of one class, of one date shape, or of several classes."""
    kind = draw(st.sampled_from(["one", "one", "shape", "mixed", "mixed", "null"]))
    if kind == "null":
        return st.none()
    if kind == "shape":
        values: st.SearchStrategy[Value] = moments(draw(shapes()))
    elif kind == "one":
        values = _CLASSES[draw(st.sampled_from(sorted(_CLASSES)))]
    else:
        chosen = draw(st.lists(st.sampled_from(sorted(_CLASSES)), min_size=2, max_size=4, unique=True))
        values = st.one_of([_CLASSES[name] for name in chosen])
    return st.none() | values if draw(st.booleans()) else values


@dataclass(slots=True)
class _Taken:
    """Names given out, folded: tables and indexes share a namespace in both engines."""

    names: set[str]

    def take(self, draw: st.DrawFn, source: st.SearchStrategy[str]) -> str:
        name = draw(source.filter(lambda name: fold(name) not in self.names))
        self.names.add(fold(name))
        return name


@st.composite
def databases(
    draw: st.DrawFn,
    *,
    max_tables: int = 2,
    max_rows: int = 8,
    name: st.SearchStrategy[str] = usable_names,
    encodings: Sequence[str] = ("UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be"),
    strict: bool | None = None,
) -> Made:
    """A whole database: tables of all sorts with their keys, indexes, relations and rows."""
    taken = _Taken(set())
    ddl: list[str] = []
    rows: list[tuple[str, tuple[str, ...], tuple[tuple[Value, ...], ...]]] = []
    after: list[str] = []
    parents: list[str] = []
    for _ in range(draw(st.integers(1, max_tables))):
        table = taken.take(draw, name)
        is_strict = draw(st.sampled_from([False, False, False, True])) if strict is None else strict
        folded = _Taken(set())
        columns = [folded.take(draw, name) for _ in range(draw(st.integers(1, 5)))]
        key = draw(st.sampled_from(["none", "none", "rowid", "rowid", "autoincrement", "single", "composite"]))
        parts, values = [], []
        for position, column in enumerate(columns):
            declared = draw(st.sampled_from(_STRICT if is_strict else _DECLARED))
            content = draw(contents())
            text = quote(column)
            if position == 0 and key in ("rowid", "autoincrement"):
                text += " INTEGER PRIMARY KEY" + (" AUTOINCREMENT" if key == "autoincrement" else "")
                content = st.none() | st.integers(1, 50) | integers.filter(lambda n: n < 2**63 - 1)
            else:
                text += f" {declared}" if declared else ""
                if position == 0 and key == "single":
                    text += draw(
                        st.sampled_from([" PRIMARY KEY", " PRIMARY KEY NOT NULL", " PRIMARY KEY COLLATE NOCASE"])
                    )
                elif draw(st.integers(0, 9)) == 0:
                    text += draw(st.sampled_from([" UNIQUE", " UNIQUE NOT NULL", " UNIQUE COLLATE NOCASE"]))
                elif draw(st.integers(0, 5)) == 0:
                    text += " NOT NULL"
                if draw(st.integers(0, 5)) == 0:
                    text += f" DEFAULT {draw(st.sampled_from(_DEFAULTS))}"
                if draw(st.integers(0, 9)) == 0:
                    text += (
                        draw(st.sampled_from([" COLLATE NOCASE", " COLLATE RTRIM"])) if "COLLATE" not in text else ""
                    )
                if parents and draw(st.integers(0, 5)) == 0:
                    text += f" REFERENCES {quote(draw(st.sampled_from(parents)))}"
            parts.append(text)
            values.append(content)
        if draw(st.integers(0, 9)) == 0 and len(columns) > 1:
            generated = folded.take(draw, name)
            kind = draw(st.sampled_from(["STORED", "VIRTUAL"]))
            typed = "TEXT" if is_strict else ""
            parts.append(f"{quote(generated)} {typed} AS (typeof({quote(columns[1])})) {kind}")
        without_rowid = key in ("single", "composite") and draw(st.booleans())
        if key == "composite":
            chosen = draw(st.permutations(columns))[: draw(st.integers(1, len(columns)))]
            parts.append(f"PRIMARY KEY ({', '.join(map(quote, chosen))})")
        options = [*(["STRICT"] if is_strict else []), *(["WITHOUT ROWID"] if without_rowid else [])]
        ddl.append(f"CREATE TABLE {quote(table)} ({', '.join(parts)}) {', '.join(options)}".rstrip())
        if draw(st.integers(0, 3)) == 0:
            index = taken.take(draw, name)
            terms = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=2, unique=True))
            shown = ", ".join(
                quote(term) + draw(st.sampled_from(["", " DESC", " COLLATE NOCASE", " COLLATE RTRIM"]))
                for term in terms
            )
            where = f" WHERE {quote(columns[0])} IS NOT NULL" if draw(st.booleans()) else ""
            unique = draw(st.sampled_from(["", "", "UNIQUE "]))
            ddl.append(f"CREATE {unique}INDEX {quote(index)} ON {quote(table)} ({shown}){where}")
        made = draw(st.lists(st.tuples(*values), max_size=max_rows))
        if made and draw(st.booleans()):
            # Equal rows: without a key they stay, with one the table refuses them.
            made += draw(st.lists(st.sampled_from(made), max_size=3))
        rows.append((table, tuple(columns), tuple(made)))
        if key == "autoincrement" and draw(st.booleans()):
            after.append(f"DELETE FROM {quote(table)} WHERE {quote(columns[0])} > 2")
        parents.append(table)
    return Made(encoding=draw(st.sampled_from(list(encodings))), ddl=tuple(ddl), rows=tuple(rows), after=tuple(after))
