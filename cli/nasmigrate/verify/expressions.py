"""Translated expressions, shown to give what SQLite's give: on the stored rows, and for the rows to come.

WHERE and terms of indexes, and CHECKs that rows break, are evaluated for every row on both sides and compared by
digests. (A CHECK that holds for every row is shown by both systems; a generated column by its own digests.) A DEFAULT
is run on both sides; one of the clock or of chance must have the same shape.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw
import psycopg
from psycopg import sql

from nasmigrate.core.errors import TransferError
from nasmigrate.core.result import Difference, Gate
from nasmigrate.postgres.digests import bucket_digests, range_digest, send_bytes, table_name
from nasmigrate.schema.chunks import Buckets, EncodedBatch, RangeChunk
from nasmigrate.schema.codecs import Codec, Misfit, SqliteValue
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.model import Column, SourceSchema
from nasmigrate.schema.plan import Plan, PlanColumn, PlanTable
from nasmigrate.sqlite.defaults import default_value
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.open import open_views
from nasmigrate.sqlite.read import KeyRange

GATE = "expressions"
SECONDS = 600
_BITS = 4
_TRUTH = "CASE WHEN ({0}\n) THEN 1 WHEN NOT ({0}\n) THEN 0 END"
_CODECS = {16: "boolean", 17: "bytea", 20: "bigint", 23: "bigint", 25: "text", 701: "double"}
"""By type OID (pg_type.dat): bool, bytea, int8, int4, text, float8."""
_PG_TYPES = {"double": "double precision"}
_OF_THE_MOMENT = re.compile(r"\bnow\(\)|\bgen_random_uuid\(\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That an expression of a table means the same on both sides; `code` is the finding that leaves its object out."""

    code: str
    name: str
    what: str
    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionsOutcome:
    """The gate and the differences behind it."""

    gate: Gate
    differences: tuple[Difference, ...]


class Unclear(Exception):
    """A claim could not be looked into; the message says why."""


def compare_expressions(
    snapshot: Path,
    connection: psycopg.Connection,
    plan: Plan,
    schema: SourceSchema,
    expected: Mapping[str, list[ChunkRow]],
    workdir: Path,
) -> ExpressionsOutcome:
    """Look into every claim of a plan.

    Args:
        snapshot: the source's rows.
        connection: to the target.
        plan: the translations.
        schema: of the source, for its defaults.
        expected: the chunks of each table: rows are compared in these.
        workdir: where row digests may spill.
    """
    started = time.perf_counter()
    checked, unclear = 0, []
    wrong: list[tuple[str, Claim]] = []
    with closing(open_views(snapshot, seconds=SECONDS)) as reader:
        # Old files hold WHERE state = "new" with the double quotes meaning a string.
        reader.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
        rows = _Rows(reader, connection, plan, workdir)
        for table in plan.tables:
            claims = _claims(table)
            checked += len(claims)
            try:
                wrong += [(table.name, claim) for claim in rows.wrong(table, claims, expected.get(table.name, []))]
            except (Unclear, apsw.Error, TransferError) as error:
                unclear.append(f"{table.name} ({error})")
    for table in plan.tables:
        for column in table.columns:
            if column.default_sql is None or column.identity:
                continue
            checked += 1
            claim = _default_claim(table, column, schema.table(table.name).column(column.name))
            try:
                same = _same_default(connection, column, schema.table(table.name).column(column.name))
            except (Unclear, apsw.Error) as error:
                unclear.append(f"{claim.name} ({error})")
                continue
            if not same:
                wrong.append((table.name, claim))
    return ExpressionsOutcome(
        gate=_gate(checked, wrong, unclear, round(time.perf_counter() - started, 3)),
        differences=tuple(_difference(table, claim) for table, claim in wrong),
    )


def _claims(table: PlanTable) -> list[Claim]:
    claims = []
    for index in table.indexes:
        if index.where is not None and index.where_source is not None:
            truth = _TRUTH.format(index.where_source)
            claims.append(_index_claim(index.name, "WHERE", truth, index.where))
        for number, term in enumerate(index.terms, start=1):
            if term.expression is not None and term.source is not None:
                claims.append(_index_claim(index.name, f"term {number}", term.source, term.expression))
    for check in table.checks:
        if check.not_valid:
            truth = _TRUTH.format(check.source)
            code = "CHECK_NOT_TRANSLATED"
            claims.append(Claim(code=code, name=check.name, what="the CHECK", source=truth, target=check.sql))
    return claims


def _index_claim(name: str, what: str, source: str, target: str) -> Claim:
    return Claim(code="INDEX_NOT_TRANSLATED", name=name, what=what, source=source, target=target)


class _Rows:
    """Evaluates the claims of one table after another for every row."""

    def __init__(self, reader: apsw.Connection, connection: psycopg.Connection, plan: Plan, workdir: Path) -> None:
        self._reader = reader
        self._connection = connection
        self._plan = plan
        self._workdir = workdir

    def wrong(self, table: PlanTable, claims: Sequence[Claim], chunks: Sequence[ChunkRow]) -> list[Claim]:
        """The claims that do not hold.

        Raises:
            Unclear: an expression has a type that is not compared.
            apsw.Error: SQLite cannot evaluate an expression.
        """
        if not claims:
            return []
        keys = [table.column(name) for name in table.key]
        computed = [self._column(table, number, claim) for number, claim in enumerate(claims, start=1)]
        probe = table.model_copy(update={"columns": (*keys, *computed)})
        relation = sql.SQL("(SELECT {} FROM ONLY {})").format(
            sql.SQL(", ").join(
                [sql.Identifier(column.target) for column in keys]
                + [
                    sql.SQL("({})::{} AS {}").format(
                        sql.SQL(claim.target), sql.SQL(column.pg_type), sql.Identifier(column.target)
                    )
                    for claim, column in zip(claims, computed, strict=True)
                ]
            ),
            table_name(table),
        )
        if table.mode == "multiset" or not chunks:
            if not self._multisets_differ(probe, claims, relation):
                return []
            # Row digests do not say which column differs: each claim is asked for alone.
            alone = [self.wrong(table, [claim], ()) for claim in claims] if len(claims) > 1 else []
            return [claim for found in alone for claim in found] or list(claims)
        differing: set[int] = set()
        for chunk in chunks:
            differing |= self._differing(probe, claims, relation, chunk)
        return [claim for place, claim in enumerate(claims, start=len(keys)) if place in differing]

    def _column(self, table: PlanTable, number: int, claim: Claim) -> PlanColumn:
        query = sql.SQL("SELECT ({}) FROM ONLY {} LIMIT 0").format(sql.SQL(claim.target), table_name(table))
        described = self._connection.execute(query).description
        assert described is not None  # noqa: S101 - a SELECT describes its columns
        codec = _CODECS.get(described[0].type_code)
        if codec is None:
            raise Unclear(f"{claim.name}: {claim.what} is of a type that is not compared")
        name = f"nasmigrate expression {number}"
        return PlanColumn(name=name, declared_type="", codec=codec, pg_type=_PG_TYPES.get(codec, codec))

    def _batches(self, probe: PlanTable, claims: Sequence[Claim], bounds: KeyRange) -> Iterator[EncodedBatch]:
        return encoded_batches(
            self._reader,
            probe,
            probe.codecs(),
            encoding=self._plan.encoding,
            bounds=bounds,
            expressions=[claim.source for claim in claims],
        )

    def _differing(
        self, probe: PlanTable, claims: Sequence[Claim], relation: sql.Composable, chunk: ChunkRow
    ) -> set[int]:
        """The places of the columns of a chunk whose values differ; all of them where its rows do."""
        making = RangeChunk(probe, probe.codecs(), chunk.chunk)
        for batch in self._batches(probe, claims, KeyRange(after=chunk.after, last=chunk.last)):
            making.add(batch)
        ours = making.finish(chunk.after, chunk.last)
        for careful in (False, True):
            theirs = range_digest(
                self._connection, probe, probe.codecs(), chunk.after, chunk.last, careful=careful, relation=relation
            )
            if ours.digests == theirs.digests:
                return set()
        if ours.rows != theirs.rows:
            return set(range(len(probe.columns)))
        pairs = zip(ours.digests, theirs.digests, strict=True)
        return {place for place, (one, other) in enumerate(pairs) if one != other}

    def _multisets_differ(self, probe: PlanTable, claims: Sequence[Claim], relation: sql.Composable) -> bool:
        probe = probe.model_copy(update={"mode": "multiset"})
        with Buckets(probe, _BITS, self._workdir) as buckets:
            for batch in self._batches(probe, claims, KeyRange()):
                buckets.add(batch)
            ours = {chunk.chunk: (chunk.rows, chunk.digests[0]) for chunk in buckets.finish()[0] if chunk.rows}
        theirs = bucket_digests(self._connection, probe, probe.codecs(), _BITS, relation=relation)
        return ours != {bucket: (digest.rows, digest.digests[0]) for bucket, digest in theirs.items()}


# -- defaults -----------------------------------------------------------------------------------------------------


def _default_claim(table: PlanTable, column: PlanColumn, source: Column) -> Claim:
    return Claim(
        code="DEFAULT_NOT_TRANSLATED",
        name=f"{table.name}.{column.name}",
        what="the DEFAULT",
        source=source.default_sql or "",
        target=column.default_sql or "",
    )


def _same_default(connection: psycopg.Connection, column: PlanColumn, source: Column) -> bool:
    codec = column.build_codec()
    ours = default_value(source)
    typed = sql.SQL("CAST(({}) AS {})").format(sql.SQL(column.default_sql or ""), sql.SQL(column.pg_type))
    try:
        with connection.transaction():
            row = connection.execute(sql.SQL("SELECT {}").format(send_bytes(codec, typed)), binary=True).fetchone()
    except psycopg.DataError:
        return False
    theirs = row[0] if row else None
    if column.rules and _OF_THE_MOMENT.search(column.default_sql or ""):
        return theirs is not None  # a rule makes a moment of it, and says which
    if _OF_THE_MOMENT.search(column.default_sql or ""):
        return theirs is not None and _shape(codec.decode_one(theirs)) == _shape(ours)
    return theirs == _sent(codec, ours)


def _sent(codec: Codec, value: SqliteValue) -> bytes | None:
    """The send bytes of one value.

    Raises:
        Unclear: the column does not hold the value.
    """
    try:
        encoded = codec.encode([value])
    except Misfit as misfit:
        raise Unclear("its value does not fit the column") from misfit
    if len(encoded.nulls):
        return None
    return bytes(encoded.data) if encoded.width is not None else encoded.values[0]


def _shape(value: SqliteValue) -> tuple[str, object]:
    """What values of one moment and another have in common: class, length, and the kind of every character."""
    if isinstance(value, str):
        return "text", re.sub(r"[0-9a-f]", "0", re.sub(r"[0-9A-F]", "0", value))
    if isinstance(value, bytes):
        return "blob", len(value)
    return type(value).__name__, len(str(value)) if isinstance(value, int) else None


# -- the gate -----------------------------------------------------------------------------------------------------


def _difference(table: str, claim: Claim) -> Difference:
    return Difference(
        kind="object",
        table=table,
        object=f"{claim.what} of {claim.name}",
        source=claim.source,
        target=f"{claim.target} gives other values",
        found_by=GATE,
    )


def _gate(checked: int, wrong: list[tuple[str, Claim]], unclear: list[str], seconds: float) -> Gate:
    if wrong:
        _, first = wrong[0]
        detail = (
            f"{len(wrong)} of {checked} give other values than in SQLite: {first.what} of {first.name};"
            f' [plan] accept = ["{first.code}:{first.name}"] leaves it out'
        )
        return Gate(name=GATE, status="fail", detail=detail, checked=checked, seconds=seconds)
    if unclear:
        detail = f"could not be compared: {', '.join(unclear[:3])}"
        return Gate(name=GATE, status="inconclusive", detail=detail, checked=checked, seconds=seconds)
    if not checked:
        return Gate(name=GATE, status="skipped", detail="nothing was translated", seconds=seconds)
    detail = f"{checked} defaults, and parts of indexes and checks, give what they give in SQLite"
    return Gate(name=GATE, status="pass", detail=detail, checked=checked, seconds=seconds)
