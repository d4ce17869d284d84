"""`nasmigrate copy`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import (
    chosen_tables,
    engine_option,
    password_file_option,
    source_argument,
    subcommand,
    table_options,
)


@subcommand("copy")
@source_argument
@click.argument("target", required=False)
@click.option("--target", "target_option", metavar="DSN", help="The target, when SOURCE comes from nasmigrate.toml.")
@password_file_option
@engine_option
@click.option("--resume", is_flag=True, help="Go on with the last copy into this target.")
@click.option("--round-trip/--no-round-trip", default=False, help="Also decode Postgres back to SQLite and compare.")
@click.option("--into-existing", is_flag=True, help="Copy rows alone, into tables that your application made there.")
@table_options
@click.option("--chunk-rows", type=click.IntRange(min=1), metavar="N", help="Most rows in a chunk.")
@click.option("--chunk-bytes", metavar="N", help="Most bytes in a chunk, such as 16777216 or '16 MiB'.")
@click.pass_obj
def command(
    app: App,
    source: str | None,
    target: str | None,
    target_option: str | None,
    password_file: Path | None,
    engine: str | None,
    resume: bool,
    round_trip: bool,
    into_existing: bool,
    only_tables: tuple[str, ...],
    exclude_tables: tuple[str, ...],
    chunk_rows: int | None,
    chunk_bytes: str | None,
) -> int:
    """Copy the source into an empty target and verify it.

    SOURCE is the SQLite file [source.path], TARGET a postgresql:// URL, 'host=… dbname=…' or env:NAME
    [target.dsn]. A target that holds anything is refused, unless --resume goes on with the copy it holds. A copy that
    is complete already is checked again: --resume then ends 0 when every gate passes.

    With --into-existing the target's tables must be there, made by an ORM or a migration tool: rows alone are copied,
    in one transaction, into the types that stand there. What does not fit is refused before anything is written, and
    tables that hold rows already want a word in [existing.seeds]. Types of [columns] are not looked at then, rules are.
    """
    from nasmigrate.commands._run import show, source_and_target, source_path, target_of

    source, target = source_and_target(source, target, target_option)
    transfer = {"transfer.engine": engine, "transfer.chunk_rows": chunk_rows, "transfer.chunk_bytes": chunk_bytes}
    loaded = app.load({**transfer, **chosen_tables(only_tables, exclude_tables)})
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)

    if into_existing:
        from nasmigrate.core.errors import UsageProblem

        if resume:
            raise UsageProblem("--into-existing is all or nothing: there is never a part of it to --resume")
        if loaded.config.transfer.engine != "native":
            raise UsageProblem(
                "--into-existing copies with the native engine only: another program has a transaction of its own",
                hint="use --engine native",
            )
        from nasmigrate.workflows.into_existing import copy_into_existing

        return show(app, copy_into_existing(app.context(loaded), path, chosen, round_trip=round_trip))
    from nasmigrate.workflows.copy import copy

    return show(app, copy(app.context(loaded), path, chosen, resume=resume, round_trip=round_trip))
