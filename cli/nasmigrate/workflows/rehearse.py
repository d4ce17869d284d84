"""`nasmigrate rehearse`: the whole road on a throw-away target, proven both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.result import Gate, Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.embedded import embedded_server
from nasmigrate.sqlite.open import check_file
from nasmigrate.workflows.engine import check_engine
from nasmigrate.workflows.load import load
from nasmigrate.workflows.outcome import finish, predict, verdict_of
from nasmigrate.workflows.prepare import make, revisions_directory
from nasmigrate.workflows.proof import decisions_gate, prove
from nasmigrate.workflows.rehearse_cutover import RehearsedNight, predicted, rehearse_cutover
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.scratch_database import scratch_database
from nasmigrate.workflows.source import take_source
from nasmigrate.workflows.space import check_space


def rehearse(
    context: Context,
    source: Path,
    *,
    target: Target | None = None,
    keep_target: bool = False,
    with_stack: bool = False,
) -> Result:
    """Copy the source to a scratch target and prove the copy: counts, digests, objects, sequences, round trip.

    Args:
        context: settings and reporter.
        source: the SQLite file; it is only read.
        target: a server on which a scratch database is created and dropped; None = an embedded server.
        keep_target: leave the scratch database (with `target` only).
        with_stack: also seed everyone into a scratch tenant of the real Kill Bill; otherwise, where a cutover is to
            seed, only the mapping is checked.

    Raises:
        SourceError, SchemaError, TargetError, TransferError: what could not be done.
        ExternalToolError: the engine is another program, and that failed.
    """
    with running(context, "rehearse") as run:
        check_engine(context)
        check_space(source, context.base, server_here=target is None)
        check_file(source)  # before a server is started for it
        night = RehearsedNight()
        # The server starts while this process is small and has no workers: the child that is to become the server
        # would for a moment count a second time what this process holds.
        with _scratch(run, target, keep_target) as (conninfo, display, server):
            prepared = make(run, take_source(run, source))
            revisions = revisions_directory(run, prepared.plan, publish=False)
            loaded = load(run, conninfo, display, prepared, revisions)
            proof = prove(
                run,
                conninfo,
                prepared.plan,
                prepared.source,
                loaded.ledger,
                recorded=loaded.catalogue,
                with_round_trip=context.config.rehearse.round_trip,
            )
            proof.add(decisions_gate(prepared.plan))
            if with_stack or context.config.cutover.seed:
                from nasmigrate.workflows.rehearse_seed import rehearse_seed

                proof.add(rehearse_seed(run, conninfo, display, with_stack=with_stack))
            if context.config.rehearse.cutover and context.config.transfer.engine == "native":
                if verdict_of(proof.gates)[0] == "pass":
                    with scratch_database(server, keep=False) as (empty, _):
                        night = rehearse_cutover(run, empty, prepared, proof)
                else:
                    detail = "rehearsed once all other gates pass"
                    proof.add(Gate(name="cutover", status="skipped", detail=detail))
        prediction, rates = predict(run, prepared, loaded.copied, loaded.database_bytes)
        return finish(
            run,
            source=str(prepared.source.path),
            target=display,
            plan=prepared.plan,
            source_sha256=prepared.source.sha256,
            proof=proof,
            copied=loaded.copied,
            prediction=predicted(prediction, night),
            rates=rates,
            server=loaded.server,
            engine=loaded.engine,
            next_step={
                "pass": "nasmigrate cutover, while the application runs; or stop it first, then nasmigrate copy",
                "fail": "nasmigrate report",
                "inconclusive": "nasmigrate report",
            },
        )


@contextmanager
def _scratch(run: Run, target: Target | None, keep: bool) -> Iterator[tuple[str, str, str]]:
    """A scratch database on the given server, or on an embedded one: (conninfo, display, the server's own conninfo)."""
    if target is None:
        with run.phase("server", "embedded Postgres"):
            manager = embedded_server()
            server = manager.__enter__()
        try:
            with scratch_database(server.dsn, keep=False) as (conninfo, _):
                yield conninfo, f"embedded PostgreSQL {server.version}, scratch database", server.dsn
        finally:
            manager.__exit__(None, None, None)
        return
    with scratch_database(target.conninfo, keep=keep) as (conninfo, name):
        if keep:
            run.context.reporter.note(f"the scratch database {name} stays")
        yield conninfo, f"{target.display}, scratch database {name}", target.conninfo
