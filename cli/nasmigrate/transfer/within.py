"""The native engine within one transaction of the caller, which is all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager

import apsw
import psycopg

from nasmigrate.schema.plan import PlanTable
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.transfer.chunked import Nowhere, Sink, Stretch, already_taken, tasks_of, with_done
from nasmigrate.transfer.engine import CopyJob, TableCopied
from nasmigrate.transfer.native import Copier


def copy_within(
    job: CopyJob, target: psycopg.Connection, progress: Callable[[str, int], None], *, kept: Collection[str] = ()
) -> list[TableCopied]:
    """Copy everything, in one process, table after table.

    Args:
        job: what and where; its `conninfo` is not used.
        target: in a transaction, which is neither begun nor ended here.
        progress: called with (table, rows of that table so far).
        kept: tables whose rows are there already: they get their ledger and originals, no rows.

    Raises:
        CopyFailed, TransferError: as TransferEngine.
    """
    copied = []
    with closing(open_snapshot(job.snapshot)) as source:
        copier = _WithinTransaction(job, source, target, kept)
        for table in job.plan.tables:
            total = already_taken(job, table.name)
            for task in tasks_of(job, table):
                total = with_done(total, copier.run(task))
                progress(table.name, total.rows)
            copied.append(total)
    return copied


class _WithinTransaction(Copier):
    """Writes chunks and ledger, and leaves the transaction to the caller."""

    undoes_transaction = False

    def __init__(
        self, job: CopyJob, source: apsw.Connection, target: psycopg.Connection, kept: Collection[str]
    ) -> None:
        super().__init__(job, source, target, each_task=False)
        self._kept = kept

    @contextmanager
    def writing(self, table: PlanTable, number: int, stretch: Stretch) -> Iterator[Sink]:
        """See ChunkWriter."""
        if table.name in self._kept:
            yield Nowhere()
            return
        self._target.execute("SAVEPOINT nasmigrate_chunk")
        with super().writing(table, number, stretch) as sink:
            yield sink
        self._target.execute("RELEASE SAVEPOINT nasmigrate_chunk")

    def undo(self) -> None:
        """See Copier; what the caller and earlier chunks did stays."""
        self._target.execute("ROLLBACK TO SAVEPOINT nasmigrate_chunk")

    def commit(self) -> None:
        """See ChunkWriter; here it is the caller's matter."""
