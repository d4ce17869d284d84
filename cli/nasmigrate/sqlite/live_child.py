"""The process that alone may hold a lock on the live file: `python -m nasmigrate.sqlite.live_child FILE`.

POSIX locks belong to a process and vanish when anything in it closes the file, so this one opens the file by apsw,
once, and does nothing else. It takes one JSON object per line on stdin and answers with one on stdout (`live.py` is
the other end). When stdin ends, or the time for a freeze is up, it rolls back and ends: a lock never outlives the
tool that asked for it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from nasmigrate.sqlite.fence import (
    Fence,
    drop_fence,
    make_fence,
    read_fence,
    stamp_fence,
    tables_that_take_writes,
    ways_home_closed,
)
from nasmigrate.sqlite.locks import holder_of_write_lock
from nasmigrate.sqlite.permissions import mode_of, restore_mode
from nasmigrate.sqlite.schema_text import digest_of_schema, schema_text

_COMMIT_PAUSE: Final = 0.005
_BLOCK: Final = 1 << 16


class Refused(Exception):
    """What was asked for cannot be done; `kind` is for the other end to tell reasons apart."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class LiveFile:
    """The live file and the one connection to it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._connection: apsw.Connection | None = None
        self.deadline: float | None = None
        """When a freeze must have become a fence, by `clock`; None while nothing is frozen."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what `request` asks for."""
        actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "read": self._read,
            "freeze": self._freeze,
            "fence": self._fence,
            "commit": self._commit_fence,
            "holder": self._holder,
            "release": self._release,
            "settle": self._settle,
            "probe": self._probe,
            "lift": self._lift,
            "stamp": self._stamp,
        }
        return actions[request["do"]](request)

    def expire(self) -> None:
        """Give the lock back: the time for the freeze is up."""
        self.close()
        self.deadline = None

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None

    # -- what can be asked for ---------------------------------------------------------------------------------

    def _read(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            seen = self._seen(self._open(request, write=False))
        except apsw.ReadOnlyError as error:
            if getattr(error, "extendedresult", None) != apsw.SQLITE_READONLY_ROLLBACK:
                raise
            self.close()
            seen = self._recovered(request)
        return {**seen, **self._facts()}

    def _freeze(self, request: dict[str, Any]) -> dict[str, Any]:
        connection = self._open(request)
        journal_mode = str(connection.pragma("journal_mode"))
        # EXTRA also syncs the folder after the journal is deleted, which is what commits there.
        connection.pragma("synchronous", "FULL" if journal_mode == "wal" else "EXTRA")
        if closed := ways_home_closed(connection):
            tables = "; ".join(f"table {table}: {need}" for table, need in closed)
            raise Refused("functions", f"an index or a generated column needs what only the application has: {tables}")
        connection.execute("BEGIN IMMEDIATE").fetchall()
        limit = request.get("limit")
        self.deadline = None if limit is None else self._clock() + float(limit)
        return {"journal_mode": journal_mode, **self._seen(connection), **self._facts()}

    def _fence(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write the fence into the open transaction; `commit` ends it, once a witness has seen that the lock held."""
        connection = self._frozen()
        if read_fence(connection) is not None:
            raise Refused("fence", "another fence is there already")
        return {"tables": make_fence(connection, Fence(**request["fence"]))}

    def _commit_fence(self, request: dict[str, Any]) -> dict[str, Any]:
        self._commit(self._frozen())
        self.deadline = None
        return {}

    def _holder(self, request: dict[str, Any]) -> dict[str, Any]:
        """Which process holds the write lock. It opens and closes the file, so it is for a process without locks."""
        if self._connection is not None:
            raise Refused("sqlite", "a process with a connection cannot look for locks without losing its own")
        return {"process": holder_of_write_lock(self._path, wal=bool(request["wal"]))}

    def _release(self, request: dict[str, Any]) -> dict[str, Any]:
        self.expire()
        return {}

    def _settle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Move the log into the file, then take the write permissions away as a second line."""
        connection = self._open(request)
        fence = read_fence(connection)
        if fence is None:
            raise Refused("fence", "there is no fence")
        with contextlib.suppress(apsw.BusyError):  # a reader keeps the log; nothing depends on this
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.close()
        self._path.chmod(mode_of(self._path) & ~0o222)
        return self._facts()

    def _probe(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a newcomer sees: the fence, and whether it is refused a write to each table."""
        connection = self._open(request)
        fence = read_fence(connection)
        return {"fence": _fields(fence), "taking": list(tables_that_take_writes(connection)) if fence else None}

    def _lift(self, request: dict[str, Any]) -> dict[str, Any]:
        """Drop the fence, if it is the one that is meant; `any` takes whichever is there."""
        connection = self._writable(request)
        connection.execute("BEGIN IMMEDIATE").fetchall()
        fence = read_fence(connection)
        if fence is None:
            raise Refused("fence", "there is no fence")
        if not request.get("any"):
            _require(fence, request)
            if fence.epoch >= int(request["older_than"]):
                raise Refused("fence", f"the fence was stamped at epoch {fence.epoch}: another run has taken over")
        drop_fence(connection)
        self._commit(connection)
        self.close()
        restore_mode(self._path, fence.file_mode)
        return {"fence": _fields(fence)}

    def _stamp(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write another epoch, and perhaps another identity, into the fence that is meant."""
        mode = mode_of(self._path)
        connection = self._writable(request)
        connection.execute("BEGIN IMMEDIATE").fetchall()
        fence = read_fence(connection)
        if fence is None:
            raise Refused("fence", "there is no fence")
        _require(fence, request)
        stamped = Fence(**request["fence"])
        if fence.epoch >= stamped.epoch:
            raise Refused("fence", f"the fence was stamped at epoch {fence.epoch}: another run has taken over")
        stamp_fence(connection, stamped)
        self._commit(connection)
        self.close()
        restore_mode(self._path, mode)
        return {"fence": _fields(stamped)}

    # -- the connection ----------------------------------------------------------------------------------------

    def _writable(self, request: dict[str, Any]) -> apsw.Connection:
        """A connection to a file whose write permissions the fence may have taken away."""
        mode = mode_of(self._path)
        if not mode & stat.S_IWUSR and self._path.stat().st_uid == os.geteuid():
            self._path.chmod(mode | stat.S_IWUSR)
        return self._open(request)

    def _recovered(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the file says once the transaction that a crash cut off is rolled back, as any client of SQLite does it.

        With the application on Postgres nobody else opens the file for writing, so its journal would stay hot for ever.
        """
        mode, owner = mode_of(self._path), self._path.stat().st_uid
        try:
            return self._seen(self._writable(request))
        except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.IOError) as error:
            raise Refused(
                "recovery",
                f"a transaction was cut off by a crash, and cannot be rolled back ({error}); the file belongs to user"
                f" {owner}",
            ) from error
        finally:
            self.close()
            restore_mode(self._path, mode)

    def _open(self, request: dict[str, Any], *, write: bool = True) -> apsw.Connection:
        if self._connection is None:
            flags = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
            connection = apsw.Connection(str(self._path), flags=flags | apsw.SQLITE_OPEN_NOFOLLOW)
            # Not DEFENSIVE: it takes triggers on the tables behind a virtual table for a damaged schema.
            for option, value in (
                (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
                (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1),
                (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
            ):
                connection.config(option, value)
            connection.execute("PRAGMA mmap_size = 0").fetchall()
            self._connection = connection
        self._connection.set_busy_timeout(math.ceil(float(request.get("busy", 0.0)) * 1000))
        return self._connection

    def _frozen(self) -> apsw.Connection:
        if self._connection is None or not self._connection.in_transaction:
            raise Refused("deadline", "nothing is frozen")
        return self._connection

    def _commit(self, connection: apsw.Connection) -> None:
        """COMMIT; with a rollback journal an open reader makes it fail, so it is tried until the deadline."""
        connection.set_busy_timeout(0)
        give_up = self.deadline if self.deadline is not None else self._clock() + 30.0
        while True:
            try:
                connection.execute("COMMIT").fetchall()
            except apsw.BusyError:
                if self._clock() >= give_up:
                    self.expire()
                    raise Refused("busy", "a reader kept the transaction from being committed") from None
                time.sleep(_COMMIT_PAUSE)
            else:
                return

    @staticmethod
    def _seen(connection: apsw.Connection) -> dict[str, Any]:
        return {"fence": _fields(read_fence(connection)), "schema": digest_of_schema(schema_text(connection))}

    def _facts(self) -> dict[str, Any]:
        facts = self._path.stat()
        return {"inode": facts.st_ino, "mode": stat.S_IMODE(facts.st_mode), "size": facts.st_size}


def _require(fence: Fence, request: dict[str, Any]) -> None:
    """Refuse a fence that stands for another database than the request's."""
    if not fence.stands_for(str(request["system_identifier"]), int(request["database_oid"])):
        raise Refused("fence", "the fence stands for another database")


def _fields(fence: Fence | None) -> dict[str, Any] | None:
    return None if fence is None else fence.as_fields()


def serve(live: LiveFile, requests: int, answers: int, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Answer requests from one descriptor on another until the first ends or a freeze expires."""
    pending = b""
    while True:
        wait = None if live.deadline is None else max(0.0, live.deadline - clock())
        if not select.select([requests], [], [], wait)[0]:
            live.expire()
            return
        block = os.read(requests, _BLOCK)
        if not block:
            return
        pending += block
        while b"\n" in pending:
            line, _, pending = pending.partition(b"\n")
            os.write(answers, json.dumps(_answered(live, json.loads(line))).encode() + b"\n")


def _answered(live: LiveFile, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": True, **live.answer(request)}
    except Refused as refused:
        live.close()
        return {"ok": False, "kind": refused.kind, "message": str(refused)}
    except (apsw.BusyError, apsw.LockedError) as error:
        live.close()
        return {"ok": False, "kind": "busy", "message": str(error)}
    except (apsw.Error, OSError) as error:
        live.close()
        return {"ok": False, "kind": "sqlite", "message": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Serve the file named by the first argument."""
    # Ctrl-C and a lost terminal reach the whole group; what to do then is for the other end to say.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    live = LiveFile(Path(sys.argv[1]))
    try:
        serve(live, sys.stdin.fileno(), sys.stdout.fileno())
    finally:
        live.close()


if __name__ == "__main__":
    main()
