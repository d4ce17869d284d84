"""What would make SQLite equal to Postgres, when both were equal at an earlier moment: fresh row versions, and counts.

The file holds the rows that Postgres held at that moment. Of those that Postgres holds now, the old ones are among
them, values and all (`postgres.row_versions`). Every fresh one is read and compared with the file's row of its key:
it is equal, or to be updated, or, where the file has none, to be inserted. What is left is deletions, and they are
counted: deleted = rows of the file + inserted - rows of Postgres, for the table and for every part of its key space.
Where that is 0 nothing was deleted, elsewhere the keys of both sides are compared, which must find exactly as many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import apsw
import psycopg

from nasmigrate.postgres.copy_out import read_raw_rows
from nasmigrate.postgres.digests import all_keys, where_range
from nasmigrate.postgres.digests import count_rows as count_rows_of
from nasmigrate.postgres.row_versions import Moment, count_versions, is_fresh
from nasmigrate.schema.chunks import EncodedBatch
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import assemble_rows
from nasmigrate.schema.digest import keys_of
from nasmigrate.schema.ledger import ChunkRow, ChunksByKey, Key, pending
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.rows import key_of_bytes, keys_gone, row_of_fields
from nasmigrate.sqlite.inspect import count_rows
from nasmigrate.sqlite.quarantine import count_aside
from nasmigrate.sqlite.read import KeyRange, Keys, Selection
from nasmigrate.verify.diff import diff_rows
from nasmigrate.verify.homeward import Homeward
from nasmigrate.verify.same_rows import SameRows
from nasmigrate.verify.source_side import source_batches
from nasmigrate.verify.table_home import (
    Present,
    TableHome,
    Told,
    add_difference,
    add_same_rows,
    going_home,
    homeward_of,
    same_rows,
    table_home,
)

_FEW = 1000
_SHARE = 4
"""Where more than a fourth of a table is fresh, and that is not few, to read both sides in order is quicker."""
_KEYS = 4_000_000
"""More keys of one chunk, which must have grown out of proportion, are not compared at once."""


class NotTold(Exception):
    """Row versions do not tell what changed in a table, so all of it is to be compared."""


class FromVersions:
    """Reads both sides on one connection each.

    Args:
        target: in a transaction that sees one moment, `now`; busy while a table is compared.
        source: the file, equal to what Postgres held at the moment `since`.
        plan: tables and codecs.
        schema: of the file.
        since: when both sides were equal.
        now: what the transaction sees.
    """

    def __init__(
        self,
        target: psycopg.Connection,
        source: apsw.Connection,
        plan: Plan,
        schema: SourceSchema,
        *,
        since: Moment,
        now: Moment,
    ) -> None:
        self._target = target
        self._source = source
        self._plan = plan
        self._schema = schema
        self._since = since
        self._now = now

    def table(self, name: str, ledger: Sequence[ChunkRow]) -> TableHome | None:
        """What makes one table of SQLite equal to Postgres; None when no row was written since.

        Args:
            name: of the table.
            ledger: chunks that tile its key space.

        Raises:
            NotTold: it takes a comparison of the whole table to know.
        """
        whole = self._plan.table(name)
        # Rows set aside are in the file and not in Postgres, and may come back as their parents do.
        if whole.kept or not self._since.tells(whole, self._now):
            raise NotTold
        counts = count_versions(self._target, whole, self._since)
        stored = count_rows(self._source, name)
        if not counts.fresh and counts.rows == stored:
            return None
        if whole.mode == "multiset" or counts.fresh > max(_FEW, stored // _SHARE):
            raise NotTold
        table = going_home(whole)
        codecs = table.codecs()
        home = table_home(self._schema, table)
        home.before = tuple(ledger)
        home.after = [pending(chunk, chunk.rows) for chunk in ledger]
        home.told = Told(count=counts.rows)
        try:
            for raw in read_raw_rows(self._target, table, where=is_fresh(self._since)):
                home.told.rows.add(raw)
            with same_rows(self._target, table) as same:
                inserted = self._fresh(table, home, home.told, ChunksByKey(ledger), same)
                missing = stored + inserted.total() - counts.rows
                if missing and same is not None and inserted:
                    # Rows that went may have come again under another key, and only their keys are compared here.
                    raise NotTold
                if same is not None and add_same_rows(
                    table, same, home.changes, lambda rows: homeward_of(self._target, table, codecs, rows)
                ):
                    raise NotTold
            if missing:
                self._deleted(table, home, ledger, inserted, missing)
        except BaseException:
            home.close()
            raise
        return home

    def _fresh(
        self, table: PlanTable, home: TableHome, told: Told, chunks: ChunksByKey, same: SameRows | None
    ) -> Counter[int]:
        """Compare the fresh rows; how many of them have no row of their key in the file, by the number of their chunk.

        A row that was written to end as it was is fresh and equal, and is left alone.
        """
        codecs = table.codecs()
        inserted: Counter[int] = Counter()
        for wanted in told.batches():
            homeward = homeward_of(self._target, table, codecs, wanted)
            present = Present(table, batches_of_keys(self._source, self._plan, table, homeward.keys(wanted)))
            found = diff_rows(table, codecs, present, map(row_of_fields, wanted))
            add_difference(table, homeward, found, home.changes, same, present)
            if homeward.outside:
                # It stops here in any case, and the comparison of everything names all such values.
                raise NotTold
            inserted.update(chunks[key].chunk for key in homeward.keys(found.inserted))
        return inserted

    def _deleted(
        self, table: PlanTable, home: TableHome, ledger: Sequence[ChunkRow], inserted: Counter[int], missing: int
    ) -> None:
        """Find the keys of the file that Postgres has no more, in the chunks that hold fewer rows than they should."""
        named = table.model_copy(update={"columns": tuple(table.columns[index] for index in table.key_indices)})
        codecs = named.codecs()
        selection = Selection(table=named.name, columns=named.key, key=named.key, ordered=False)
        for chunk in ledger:
            bounds = KeyRange(after=chunk.after, last=chunk.last)
            where = where_range(named, codecs, chunk.after, chunk.last)
            rows = count_rows_of(self._target, named, where)
            gone = selection.count(self._source, bounds) + inserted[chunk.chunk] - rows
            if not gone:
                continue
            if rows > _KEYS:
                raise NotTold
            left = all_keys(self._target, named, codecs, where)
            deleted = keys_gone(named, codecs, self._keys(named, codecs, bounds), left)
            if len(deleted) != gone:
                raise NotTold
            for key in deleted:
                home.changes.deleted.add(key_of_bytes(named, codecs, key))
            missing -= gone
        if missing:
            raise NotTold

    def _keys(self, table: PlanTable, codecs: list[Codec], bounds: KeyRange) -> bytes:
        """Key bytes of the file's rows in a part of the key space; the table has its key columns alone."""
        batches = source_batches(self._source, self._plan, table, codecs, bounds)
        return b"".join(keys_of(batch.columns, table.key_indices, range(batch.rows)) for batch in batches)


def is_as_told(source: apsw.Connection, plan: Plan, table: PlanTable, told: Told) -> bool:
    """Whether the file holds these rows as Postgres does, and as many in all; read from it again."""
    for wanted in told.batches():
        keys = Homeward(table, {}).keys(wanted)
        if Counter(rows_of_keys(source, plan, table, keys)) != Counter(map(row_of_fields, wanted)):
            return False
    return told.count == count_rows(source, table.name) - count_aside(source, table)


def rows_of_keys(source: apsw.Connection, plan: Plan, table: PlanTable, keys: Sequence[Key]) -> list[bytes]:
    """The rows of the file that have these keys, as binary COPY writes them.

    Raises:
        TransferError: a value does not fit its codec.
    """
    batches = batches_of_keys(source, plan, table, keys)
    return [row for batch in batches for row in assemble_rows(batch.columns)]


def batches_of_keys(
    source: apsw.Connection, plan: Plan, table: PlanTable, keys: Sequence[Key]
) -> Iterator[EncodedBatch]:
    """The rows of the file that have these keys, encoded; an error as in `rows_of_keys`."""
    return source_batches(source, plan, table, table.codecs(), Keys(keys=keys))
