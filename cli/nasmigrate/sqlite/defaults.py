"""What SQLite stores for a column that an INSERT does not name: its DEFAULT, run in a database of its own."""

from __future__ import annotations

from contextlib import closing

import apsw

from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.model import Column
from nasmigrate.sqlite.write_back import allow_ddl


def default_value(column: Column) -> SqliteValue:
    """The value that a new row gets.

    Raises:
        apsw.Error: the default calls what SQLite alone does not have.
    """
    with closing(apsw.Connection(":memory:")) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.authorizer = allow_ddl
        sql = column.default_sql or "NULL"
        try:
            connection.execute(f"CREATE TABLE t (c {column.declared_type} DEFAULT {sql})")
        except apsw.SQLError:  # an expression takes parentheses
            connection.execute(f"CREATE TABLE t (c {column.declared_type} DEFAULT ({sql}))")
        connection.execute("INSERT INTO t DEFAULT VALUES")
        row = connection.execute("SELECT c FROM t").fetchone()
        return row[0] if row else None
