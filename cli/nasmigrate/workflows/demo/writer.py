"""The demo's application: it writes without a pause, and writes down what was acknowledged to it.

`python -m nasmigrate.workflows.demo.writer ENV_FILE LOG NAME [PAUSE]`. It does what a small backend does: it takes the
engine from DATABASE in its env file (a path, or a Postgres conninfo), keeps one connection, and looks again when a
write fails. Each line of the log is `ok`, `no` or `unknown`, the engine, the number that was written, and when that
began and was answered, in seconds of the machine's monotonic clock; `unknown` is a commit whose answer was lost, which
may have happened or not.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psycopg

from nasmigrate.core.envfile import read_env_file
from nasmigrate.core.errors import ConfigError

PAUSE = 0.01
BUSY_TIMEOUT = 2.0


class Engine(Protocol):
    """One connection of the application."""

    name: str

    def write(self, writer: str, number: int) -> None:
        """Insert one row and count it, in one transaction."""

    def close(self) -> None:
        """Let go of it."""


class Unknown(Exception):
    """A commit whose answer was lost."""


class SqliteEngine:
    """The application on SQLite, by the library that comes with Python."""

    name = "sqlite"

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise sqlite3.OperationalError(f"{path} is not there")
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)

    def write(self, writer: str, number: int) -> None:
        """See Engine."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute("INSERT INTO orders (writer, number) VALUES (?, ?)", (writer, number))
            self._connection.execute("UPDATE totals SET written = written + 1 WHERE writer = ?", (writer,))
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """See Engine."""
        self._connection.close()


class PostgresEngine:
    """The application on Postgres."""

    name = "postgres"

    def __init__(self, conninfo: str) -> None:
        self._connection = psycopg.connect(conninfo, application_name="demo application", connect_timeout=5)

    def write(self, writer: str, number: int) -> None:
        """See Engine."""
        try:
            self._connection.execute("INSERT INTO orders (writer, number) VALUES (%s, %s)", (writer, number))
            self._connection.execute("UPDATE totals SET written = written + 1 WHERE writer = %s", (writer,))
        except psycopg.Error:
            with suppress(psycopg.Error):
                self._connection.rollback()
            raise
        try:
            self._connection.commit()
        except psycopg.OperationalError as error:
            raise Unknown from error

    def close(self) -> None:
        """See Engine."""
        self._connection.close()


def connect(env_file: Path) -> Engine:
    """The engine that the env file names now."""
    where = read_env_file(env_file)["DATABASE"]
    return SqliteEngine(where) if where.startswith("/") else PostgresEngine(where)


def run(
    env_file: Path, log: int, writer: str, *, pause: float = PAUSE, running: Callable[[], bool] = lambda: True
) -> None:
    """Write until told otherwise, as an application would, with `pause` seconds between two writes."""
    engine: Engine | None = None
    seen: int | None = None
    number = 0
    while running():
        number += 1
        outcome, name = "no", engine.name if engine else "none"
        began = time.monotonic()
        try:
            # A real one is restarted with its new settings; this one looks at them, to have no gap of its own.
            changed = env_file.stat().st_mtime_ns
            if engine is None or changed != seen:
                if engine is not None:
                    engine.close()
                engine, seen = None, changed
                engine = connect(env_file)
            name, began = engine.name, time.monotonic()
            engine.write(writer, number)
            outcome = "ok"
        except Unknown:
            outcome, engine = "unknown", None
        except (sqlite3.Error, psycopg.Error, ConfigError, OSError):
            if engine is not None and engine.name == "postgres":
                engine.close()
                engine = None
        os.write(log, f"{outcome} {name} {number} {began:.6f} {time.monotonic():.6f}\n".encode())
        time.sleep(pause)


def main() -> None:
    """Write until killed, or until whoever started this is gone."""
    parent = os.getppid()
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    pause = float(sys.argv[4]) if sys.argv[4:] else PAUSE
    run(Path(sys.argv[1]), log, sys.argv[3], pause=pause, running=lambda: os.getppid() == parent)


if __name__ == "__main__":
    main()
