"""The target's side of a digest: the definition of `schema.digest` in SQL.

The rows of a chunk come from a subquery ordered by the key. The standard does not promise that an aggregate
keeps that order, in practice it does; where a digest differs, the chunk is hashed again with ORDER BY inside the
aggregates, or its rows are compared, so the unordered form can cost time but never a false alarm or a false pass.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import psycopg
from psycopg import sql

from nasmigrate.schema.codecs import Codec, SqliteValue
from nasmigrate.schema.digest import ChunkDigest
from nasmigrate.schema.plan import PlanColumn, PlanTable


def table_name(table: PlanTable) -> sql.Composed:
    """The qualified name in Postgres."""
    return sql.SQL("{}.{}").format(sql.Identifier("public"), sql.Identifier(table.target))


def send_bytes(codec: Codec, column: sql.Composable) -> sql.Composed:
    """A value's send bytes as an expression; NULL stays NULL."""
    if not codec.send:
        return sql.SQL("{}").format(column)
    return sql.SQL("{}({})").format(sql.SQL(codec.send), column)


def _sized(codec: Codec, column: sql.Composable) -> sql.Composed:
    """Key bytes of one key column."""
    if codec.width is not None:
        return send_bytes(codec, column)
    return sql.SQL("(int4send({length}) || {value})").format(
        length=_length(codec, column), value=send_bytes(codec, column)
    )


def _length(codec: Codec, column: sql.Composable) -> sql.Composed:
    if codec.send in ("", "textsend"):
        return sql.SQL("octet_length({})").format(column)
    return sql.SQL("octet_length({})").format(send_bytes(codec, column))


def key_bytes(table: PlanTable, codecs: Sequence[Codec], alias: str = "s") -> sql.Composable:
    """Key bytes of a row as an expression."""
    parts = [_sized(codecs[index], sql.Identifier(alias, table.columns[index].target)) for index in table.key_indices]
    return sql.SQL(" || ").join(parts)


def order_by(table: PlanTable, alias: str | None = None) -> sql.Composed:
    """The key columns in order, text by bytes."""
    terms: list[sql.Composable] = []
    for index in table.key_indices:
        column = table.columns[index]
        name = sql.Identifier(alias, column.target) if alias else sql.Identifier(column.target)
        is_text = column.pg_type.startswith(("text", "character"))
        terms.append(sql.SQL('{} COLLATE "C"').format(name) if is_text else sql.SQL("{}").format(name))
    return sql.SQL(", ").join(terms)


def where_range(
    table: PlanTable, codecs: Sequence[Codec], after: Sequence[SqliteValue] | None, last: Sequence[SqliteValue] | None
) -> sql.Composed | None:
    """The condition `after < key <= last`; None when open on both sides.

    Bounds stand in it as literals: a statement with parameters takes a `%` in a name for a placeholder. CAST, since
    `::` binds before a minus sign and 9223372036854775808 is no bigint.
    """
    conditions: list[sql.Composable] = []
    names = order_by(table)
    for operator, bound in ((">", after), ("<=", last)):
        if bound is None:
            continue
        values = [
            sql.SQL("CAST({} AS {})").format(
                sql.Literal(codecs[index].parameter(value)), sql.SQL(table.columns[index].pg_type)
            )
            for index, value in zip(table.key_indices, bound, strict=True)
        ]
        conditions.append(sql.SQL("({}) {} ({})").format(names, sql.SQL(operator), sql.SQL(", ").join(values)))
    return sql.SQL(" AND ").join(conditions) if conditions else None


def _column_digest(column: PlanColumn, codec: Codec, keys: sql.Composable, order: sql.Composable) -> sql.Composed:
    name = sql.Identifier("s", column.target)
    if codec.send == "textsend":
        data = sql.SQL("convert_to(string_agg({c}, ''{o}), 'UTF8')").format(c=name, o=order)
    else:
        data = sql.SQL("string_agg({v}, ''::bytea{o})").format(v=send_bytes(codec, name), o=order)
    parts: list[sql.Composable] = [sql.SQL("sha256(coalesce({}, ''::bytea))").format(data)]
    if codec.width is None:
        parts.append(
            sql.SQL(
                "sha256(coalesce(string_agg(int4send({l}), ''::bytea{o}) FILTER (WHERE {c} IS NOT NULL), ''))"
            ).format(l=_length(codec, name), c=name, o=order)
        )
    if column.nullable:
        parts.append(
            sql.SQL("sha256(coalesce(string_agg({k}, ''::bytea{o}) FILTER (WHERE {c} IS NULL), ''))").format(
                k=keys, c=name, o=order
            )
        )
    else:
        parts.append(sql.SQL("sha256(''::bytea)"))
    parts.append(sql.SQL("int8send(count({c})) || int8send(count(*) - count({c}))").format(c=name))
    return sql.SQL("sha256({})").format(sql.SQL(" || ").join(parts))


def range_digest(
    connection: psycopg.Connection,
    table: PlanTable,
    codecs: Sequence[Codec],
    after: Sequence[SqliteValue] | None,
    last: Sequence[SqliteValue] | None,
    *,
    careful: bool = False,
    relation: sql.Composable | None = None,
) -> ChunkDigest:
    """The digests of one chunk of the key space.

    Args:
        connection: any session; TimeZone, DateStyle and the like do not matter.
        table: from the plan.
        codecs: one per column.
        after: exclusive lower bound, None = open.
        last: inclusive upper bound, None = open.
        careful: ORDER BY inside every aggregate.
        relation: what stands in FROM in the place of the table, with columns of the same names; it has no alias.
    """
    inner_order = sql.SQL(" ORDER BY ") + order_by(table, "s") if careful else sql.SQL("")
    keys = key_bytes(table, codecs)
    rows_of = sql.SQL("ONLY {}").format(table_name(table)) if relation is None else relation
    condition = where_range(table, codecs, after, last)
    where = sql.SQL(" WHERE ") + condition if condition is not None else sql.SQL("")
    columns = [
        _column_digest(column, codec, keys, inner_order) for column, codec in zip(table.columns, codecs, strict=True)
    ]
    rows = 0
    digests: list[bytes] = []
    # A row of more than 1,600 result columns is refused; the columns of a wide table go in two statements.
    for start in range(0, len(columns), 800):
        statement = sql.SQL("SELECT count(*), {} FROM (SELECT * FROM {} r{} ORDER BY {}) s").format(
            sql.SQL(", ").join(columns[start : start + 800]), rows_of, where, order_by(table)
        )
        row = connection.execute(statement, binary=True).fetchone()
        assert row is not None  # noqa: S101 - an aggregate always has a row
        rows = row[0]
        digests.extend(row[1:])
    return ChunkDigest(rows=rows, digests=tuple(digests))


def row_bytes(table: PlanTable, codecs: Sequence[Codec]) -> sql.Composed:
    """A whole row as binary COPY writes it: int2 field count, then int4 length and bytes per field."""
    parts: list[sql.Composable] = [sql.SQL("int2send({}::int2)").format(sql.Literal(len(codecs)))]
    for column, codec in zip(table.columns, codecs, strict=True):
        name = sql.Identifier("s", column.target)
        value = send_bytes(codec, name)
        length = sql.Literal(codec.width) if codec.width is not None else _length(codec, name)
        parts.append(sql.SQL("coalesce(int4send({}) || {}, int4send(-1))").format(length, value))
    # Concatenation of hundreds of operands nests deeply; groups keep the expression tree flat.
    groups = [
        sql.SQL("({})").format(sql.SQL(" || ").join(parts[start : start + 50])) for start in range(0, len(parts), 50)
    ]
    return sql.SQL(" || ").join(groups)


def bucket_digests(
    connection: psycopg.Connection,
    table: PlanTable,
    codecs: Sequence[Codec],
    bits: int,
    *,
    relation: sql.Composable | None = None,
) -> dict[int, ChunkDigest]:
    """Digests of a table's buckets: bucket = the first `bits` bits of the row digest (0 to 16).

    `relation` as for `range_digest`.
    """
    rows_of = sql.SQL("ONLY {}").format(table_name(table)) if relation is None else relation
    statement = sql.SQL(
        "SELECT b, count(*), sha256(string_agg(d, ''::bytea ORDER BY d)) FROM ("
        "SELECT d, ((get_byte(d, 0) << 8) | get_byte(d, 1)) >> {shift} AS b FROM ("
        "SELECT sha256({row}) AS d FROM {table} s) r) q GROUP BY b"
    ).format(shift=sql.Literal(16 - bits), row=row_bytes(table, codecs), table=rows_of)
    rows = connection.execute(statement, binary=True).fetchall()
    return {bucket: ChunkDigest(rows=count, digests=(digest,)) for bucket, count, digest in rows}


def bucket_condition(table: PlanTable, codecs: Sequence[Codec], bits: int, buckets: Sequence[int]) -> sql.Composed:
    """The condition that a row of the table, called `s`, is in one of these buckets."""
    return sql.SQL(
        "(SELECT ((get_byte(d, 0) << 8) | get_byte(d, 1)) >> {shift} = ANY({buckets}) FROM sha256({row}) d)"
    ).format(
        shift=sql.Literal(16 - bits),
        buckets=sql.SQL("ARRAY[{}]::int[]").format(sql.SQL(", ").join(map(sql.Literal, buckets))),
        row=row_bytes(table, codecs),
    )


def bucket_rows(
    connection: psycopg.Connection, table: PlanTable, codecs: Sequence[Codec], bits: int, buckets: Sequence[int]
) -> Generator[bytes, None, None]:
    """All row digests of some buckets, ascending; so they come bucket by bucket."""
    statement = sql.SQL(
        "COPY (SELECT sha256({row}) FROM ONLY {table} s WHERE {these} ORDER BY 1) TO STDOUT (FORMAT binary)"
    ).format(
        row=row_bytes(table, codecs), table=table_name(table), these=bucket_condition(table, codecs, bits, buckets)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["bytea"])
        for row in copy.rows():
            yield row[0]


def count_rows(connection: psycopg.Connection, table: PlanTable, where: sql.Composed | None = None) -> int:
    """`count(*)`, the target's own count; of the rows for which a condition over the columns holds."""
    statement = sql.SQL("SELECT count(*) FROM ONLY {}").format(table_name(table))
    if where is not None:
        statement += sql.SQL(" WHERE ") + where
    row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return int(row[0])


def all_keys(
    connection: psycopg.Connection, table: PlanTable, codecs: Sequence[Codec], where: sql.Composed | None
) -> bytes:
    """Key bytes of the rows for which a condition over the columns holds, concatenated in any order.

    One value of the server holds them all, so there may be a few million.
    """
    condition = sql.SQL(" WHERE ") + where if where is not None else sql.SQL("")
    statement = sql.SQL("SELECT coalesce(string_agg({}, ''::bytea), '') FROM ONLY {} s{}").format(
        key_bytes(table, codecs), table_name(table), condition
    )
    row = connection.execute(statement, binary=True).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return bytes(row[0])
