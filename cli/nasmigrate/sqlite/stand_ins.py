"""Functions that only the application has: it registers them on its connections, and the file's own text calls them.

Without such a function SQLite cannot prepare a statement that might evaluate it, whether or not it ever would. A
stand-in lets it be prepared; where one would be evaluated for a value that is kept, there is no way but the
application's own, and that is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, TypeVar

import apsw

from nasmigrate.sqlite.quoting import quote_ident

_MISSING: Final = re.compile(r"(?:no such|unknown) function: (?P<name>.+?)(?:\(\))?")
_MISSING_COLLATION: Final = re.compile(r"no such collation sequence: (?P<name>.+)")
_MOST: Final = 1000

Result = TypeVar("Result")


def missing_function(error: Exception) -> str | None:
    """The name of the function that SQLite misses, None when the error is another."""
    found = _MISSING.fullmatch(str(error)) if isinstance(error, apsw.SQLError) else None
    return found["name"] if found else None


def missing_collation(error: Exception) -> str | None:
    """The name of the collation that SQLite misses, None when the error is another."""
    found = _MISSING_COLLATION.fullmatch(str(error)) if isinstance(error, apsw.SQLError) else None
    return found["name"] if found else None


def with_stand_ins(
    connection: apsw.Connection, action: Callable[[], Result], stand_in: Callable[..., None] | None = None
) -> Result:
    """What `action` comes to, tried again with a stand-in for each function that it misses.

    Args:
        connection: gets the stand-ins, and keeps them.
        action: may be run several times; it changes nothing before SQLite has prepared its statement.
        stand_in: is evaluated in place of each function; without it, that is an error.

    Raises:
        apsw.Error: of the action.
    """
    registered: set[str] = set()
    while True:
        try:
            return action()
        except apsw.SQLError as error:
            name = missing_function(error)
            if name is None or name in registered or len(registered) == _MOST:
                raise
            registered.add(name)
            # Both flags, or it might stand neither in an index nor in the text of a file that is not trusted.
            connection.create_scalar_function(
                name, stand_in or _refusing(name), deterministic=True, flags=apsw.SQLITE_INNOCUOUS
            )


def with_any_order(connection: apsw.Connection, action: Callable[[], Result]) -> Result:
    """What `action` comes to, with some order in place of each collation that only the application has.

    For statements that compare nothing by it; the connection does not keep it.

    Raises:
        apsw.Error: of the action.
    """
    registered: list[str] = []
    try:
        while True:
            try:
                return action()
            except apsw.SQLError as error:
                name = missing_collation(error)
                if name is None or name in registered:
                    raise
                registered.append(name)
                connection.create_collation(name, lambda one, other: (one > other) - (one < other))
    finally:
        for name in registered:
            connection.create_collation(name, None)


def nothing(*_: object) -> None:
    """A stand-in that gives NULL, for what is rolled back."""


@contextmanager
def without_opaque_checks(connection: apsw.Connection, table: str) -> Iterator[None]:
    """While rows of the table are written: its CHECKs rest, if one needs what only the application has.

    Then nobody but the application can say whether a row satisfies it. The CHECKs of all other tables act.
    """
    if _write_misses(connection, table) is None:
        yield
        return
    before = connection.pragma("ignore_check_constraints")
    connection.pragma("ignore_check_constraints", 1)
    try:
        yield
    finally:
        connection.pragma("ignore_check_constraints", before)


def need_of_stored_parts(connection: apsw.Connection, table: str) -> str | None:
    """A function or collation of the application alone that an index or a generated column of the table needs, or None.

    Without it no row of the table can be written: SQLite would have to compute or to order what it stores.
    """
    return _write_misses(connection, table, checks=False)


def _write_misses(connection: apsw.Connection, table: str, *, checks: bool = True) -> str | None:
    """What SQLite misses to write a row, as a reason names it; triggers do not count. Nothing is written."""
    columns = [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", (table,)
        ).fetchall()
    ]
    names = ", ".join(quote_ident(name) for name in columns)
    marks = ", ".join(["NULL"] * len(columns))
    ignored = connection.pragma("ignore_check_constraints")
    triggers = connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, -1)
    connection.pragma("ignore_check_constraints", 0 if checks else 1)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    try:
        connection.execute(f"EXPLAIN INSERT INTO main.{quote_ident(table)} ({names}) VALUES ({marks})").fetchall()  # noqa: S608
    except apsw.SQLError as error:
        function, collation = missing_function(error), missing_collation(error)
        if function is not None:
            return f"{function}()"
        return None if collation is None else f"the collation {collation}"  # of another error the write itself tells
    finally:
        connection.pragma("ignore_check_constraints", ignored)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, triggers)
    return None


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object) -> NoReturn:
        raise apsw.SQLError(f"no such function: {name}")

    return refuse
