"""The port every copy engine stands behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg

from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.plan import Plan

Guard = Callable[[psycopg.Connection], None]
"""Called first in a transaction that writes; raises when this run may not write any more."""


def unguarded(_connection: psycopg.Connection) -> None:
    """The guard of a target that nobody can take over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """What to copy where.

    `done` is the ledger of an interrupted run: table -> its chunks. `guard` is called first in every transaction that
    writes, in any process; it raises when this run may not write any more.
    """

    plan: Plan
    snapshot: Path
    conninfo: str
    run_id: str
    workdir: Path
    limits: Limits
    done: dict[str, list[ChunkRow]]
    guard: Guard = unguarded


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCopied:
    """What the copy of one table came to; seconds are wall time, size is payload in bytes."""

    table: str
    rows: int
    size: int
    chunks: int
    originals: int
    seconds: float


class TransferEngine(Protocol):
    """Moves all rows of a plan's tables into existing, empty tables, and writes the ledger.

    `name` is what `--engine` says; `told` is what the user should know of who carried what, once the
    copy ended; empty when there is nothing to say.
    """

    name: str
    told: str

    def copy(self, job: CopyJob, progress: Callable[[str, int], None]) -> list[TableCopied]:
        """Copy everything that the ledger does not show as done.

        Args:
            job: what and where.
            progress: called with (table, rows of that table so far).

        Raises:
            CopyFailed: Postgres refused a chunk.
            TransferError: a value does not fit its codec.
        """
