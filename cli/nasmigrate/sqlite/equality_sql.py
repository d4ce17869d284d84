"""The SQL by which two SQLite files are compared: table t of schema `snapshot` with table t of schema `main`.

Limits of SQLite kept in mind (https://sqlite.org/limits.html): 2000 columns of a result, expressions 1000 deep, so
wide tables are compared some columns at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from nasmigrate.schema.model import BUILT_IN_COLLATIONS, Table
from nasmigrate.sqlite.quoting import quote_ident

NEGATIVE_ZERO = "nasmigrate_is_negative"
"""A function the connection provides: 1 for a REAL with the sign bit set. SQL itself cannot see it."""

COLUMNS_PER_QUERY = 150
_ARGUMENTS = 50
_SHOWN_COLUMNS = 12


def usable_key(table: Table) -> bool:
    """Whether rows can be paired by the declared key: there is one, with collations that SQLite itself has."""
    return table.rowid_alias is not None or (
        bool(table.primary_key) and set(_key_collations(table).values()) <= BUILT_IN_COLLATIONS
    )


def _key_collations(table: Table) -> dict[str, str]:
    """Collation of each key column within the key's own index, which need not be the column's."""
    collations = {name: table.column(name).collation.upper() for name in table.primary_key}
    index = next((index for index in table.indexes if index.origin == "pk"), None)
    for term in index.terms if index else ():
        if term.column in collations:
            collations[term.column] = term.collation.upper()
    return collations


class _Sql:
    """Shared by the two: names and counts."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._name = quote_ident(table.name)
        self._columns = [column.name for column in table.columns]
        self.column_groups = list(_groups(self._columns, COLUMNS_PER_QUERY))

    def counts(self) -> str:
        """Rows of the snapshot, rows of the rebuilt file."""
        return f"SELECT (SELECT count(*) FROM snapshot.{self._name}), (SELECT count(*) FROM main.{self._name})"  # noqa: S608


class KeyedSql(_Sql):
    """Pairs rows by key: the snapshot is scanned once, its partner is looked up by the key's index.

    The pair is found by the key's own comparison (a NOCASE key is unique under NOCASE, so there is one partner at
    most) and the key columns are then compared exactly like all others.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.key: tuple[str, ...] = (table.rowid_alias,) if table.rowid_alias else table.primary_key
        collations = {} if table.rowid_alias else _key_collations(table)
        terms = []
        for name in self.key:
            collate = f" COLLATE {collations[name]}" if name in collations else ""
            terms.append(f"r.{quote_ident(name)}{collate} = s.{quote_ident(name)}")
        self._on = " AND ".join(terms)
        # CROSS JOIN keeps the order: the optimiser must not scan both.
        self._join = f"snapshot.{self._name} AS s CROSS JOIN main.{self._name} AS r ON {self._on}"

    def changed_rows(self) -> list[str]:
        """Per group of columns: pairs, pairs that differ. FILTER stops at the first term that is true."""
        return [
            f"SELECT count(*), count(*) FILTER (WHERE {' OR '.join(map(_differs, columns))}) FROM {self._join}"  # noqa: S608
            for columns in self.column_groups
        ]

    def changed_values(self, columns: Sequence[str]) -> str:
        """How many values differ, column by column."""
        counts = ", ".join(f"count(*) FILTER (WHERE {_differs(column)})" for column in columns)
        return f"SELECT {counts} FROM {self._join}"  # noqa: S608

    def values(self, column: str) -> str:
        """The first differing values of a column: source pair, target pair, key pairs. Takes a limit."""
        shown = ", ".join([_stored("s", column), _stored("r", column), *(_stored("s", name) for name in self.key)])
        return f"SELECT {shown} FROM {self._join} WHERE {_differs(column)} LIMIT ?"  # noqa: S608

    def null_keys(self) -> list[str]:
        """Per file whether a key column holds NULL."""
        condition = " OR ".join(f"{quote_ident(name)} IS NULL" for name in self.key)
        return [
            f"SELECT EXISTS (SELECT 1 FROM {schema}.{self._name} WHERE {condition})"  # noqa: S608
            for schema in ("snapshot", "main")
        ]

    def missing_keys(self) -> str:
        """Keys of the snapshot without a partner. Takes a limit."""
        shown = ", ".join(_stored("s", name) for name in self.key)
        return (
            f"SELECT {shown} FROM snapshot.{self._name} AS s"  # noqa: S608
            f" WHERE NOT EXISTS (SELECT 1 FROM main.{self._name} AS r WHERE {self._on}) LIMIT ?"
        )

    def extra_keys(self) -> str:
        """Keys of the rebuilt file without a partner. Takes a limit."""
        shown = ", ".join(_stored("r", name) for name in self.key)
        return (
            f"SELECT {shown} FROM main.{self._name} AS r"  # noqa: S608
            f" WHERE NOT EXISTS (SELECT 1 FROM snapshot.{self._name} AS s WHERE {self._on}) LIMIT ?"
        )


class GroupedSql(_Sql):
    """Compares rows as multisets, for tables in which no key names a row.

    Equal rows of both files are put into one group, those of the snapshot counted as +1 and the others as -1; a
    group whose sum is not 0 differs. That says the same as grouping each file with its counts and taking EXCEPT
    in both directions, for one sort instead of four. Plain EXCEPT would forget duplicates and obey NOCASE.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.shown_columns = self._columns[:_SHOWN_COLUMNS]

    def zero_reals(self, columns: Sequence[str]) -> str:
        """Per column how many REALs equal to 0.0 both files hold."""
        inner = []
        for schema in ("snapshot", "main"):
            counts = ", ".join(
                f"count(*) FILTER (WHERE {_zero('t', column)}) AS c{i}" for i, column in enumerate(columns)
            )
            inner.append(f"SELECT {counts} FROM {schema}.{self._name} AS t")  # noqa: S608
        sums = ", ".join(f"sum(c{i})" for i in range(len(columns)))
        return f"SELECT {sums} FROM ({' UNION ALL '.join(inner)})"  # noqa: S608

    def totals(self, signed: Sequence[str]) -> str:
        """Rows missing and rows extra. `signed`: the columns in which the sign of zero matters."""
        return (
            "SELECT coalesce(sum(surplus) FILTER (WHERE surplus > 0), 0),"  # noqa: S608
            f" coalesce(-sum(surplus) FILTER (WHERE surplus < 0), 0) FROM ({self._differing(signed, '')})"
        )

    def groups(self, signed: Sequence[str]) -> str:
        """The first groups that differ: surplus in the snapshot, then pairs of the first columns. Takes a limit."""
        shown = ", ".join(f"typeof(c{i}), {_bytes_of(f'c{i}')}" for i in range(len(self.shown_columns)))
        return f"{self._differing(signed, ', ' + shown)} LIMIT ?"

    def _differing(self, signed: Sequence[str], shown: str) -> str:
        count = len(self._columns)
        classes = list(_groups([f"typeof(t.{quote_ident(name)})" for name in self._columns], _ARGUMENTS))
        signs = list(_groups([_sign("t", name) for name in signed], _ARGUMENTS))
        # The names of the storage classes are no prefixes of each other, so joined they can be told apart.
        extra = [f"concat({', '.join(group)}) AS k{i}" for i, group in enumerate([*classes, *signs])]
        # Unary plus: a value without its column's affinity and collation.
        values = [f"+t.{quote_ident(name)} AS c{i}" for i, name in enumerate(self._columns)]
        terms = ", ".join(values + extra)
        grouping = [f"c{i} COLLATE BINARY" for i in range(count)] + [f"k{i}" for i in range(len(extra))]
        return (
            f"SELECT sum(side) AS surplus{shown} FROM ("  # noqa: S608
            f"SELECT 1 AS side, {terms} FROM snapshot.{self._name} AS t"
            f" UNION ALL SELECT -1, {terms} FROM main.{self._name} AS t"
            f") GROUP BY {', '.join(grouping)} HAVING sum(side) <> 0"
        )


def _differs(column: str) -> str:
    """True when class or bytes of s.column and r.column differ; never NULL.

    Unary plus takes the column's affinity away, which would convert text that looks like a number.
    """
    s, r = f"s.{quote_ident(column)}", f"r.{quote_ident(column)}"
    return (
        f"(+{s} COLLATE BINARY IS NOT +{r} OR typeof({s}) <> typeof({r})"
        f" OR ({_zero('s', column)} AND {NEGATIVE_ZERO}({s}) <> {NEGATIVE_ZERO}({r})))"
    )


def _zero(alias: str, column: str) -> str:
    name = f"{alias}.{quote_ident(column)}"
    return f"(+{name} IS 0.0 AND typeof({name}) = 'real')"


def _sign(alias: str, column: str) -> str:
    name = f"{alias}.{quote_ident(column)}"
    return f"CASE WHEN {_zero(alias, column)} THEN {NEGATIVE_ZERO}({name}) ELSE 2 END"


def _stored(alias: str, column: str) -> str:
    """Two result columns: the storage class, and the value with text as its bytes."""
    name = f"{alias}.{quote_ident(column)}"
    return f"typeof({name}), {_bytes_of(name)}"


def _bytes_of(name: str) -> str:
    return f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"


def _groups(items: Iterable[str], size: int) -> Iterable[list[str]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
