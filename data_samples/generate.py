"""Make the sample marketplace: `python data_samples/generate.py PATH [--scale … | --rows N] [--variant …]`.

The clean variant migrates without a decision: one storage class per column beside NULL, one shape per date
column, no orphans. The quirky variant is the same file after quirks.py went over it. The same arguments
give the same rows, and under one release of SQLite the same bytes.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:
    # Run as a script, only this folder is on the path, not the one that holds `data_samples`.
    sys.path.append(str(HERE.parent))

from data_samples import build, marketplace, quirks  # noqa: E402
from data_samples.sizes import Sizes  # noqa: E402

Variant = Literal["clean", "quirky"]

SCALES = {"small": 2_000, "medium": 100_000, "large": 1_000_000}
"""Rows over all tables."""

VOIDED = 7
"""Rows deleted from the top of users, invoices and payments; AUTOINCREMENT must not give their numbers again."""


def generate(
    path: str | Path,
    *,
    rows: int = SCALES["small"],
    seed: int = 1,
    variant: Variant = "clean",
    journal: build.Journal = "delete",
    force: bool = False,
) -> dict[str, int]:
    """Write the marketplace to `path` and give the number of rows of each table.

    Args:
        path: file to make.
        rows: rows over all tables, about; payments dominate.
        seed: another seed gives other values in the same counts.
        variant: clean or quirky.
        journal: journal mode of the finished file.
        force: replace an existing file.

    Raises:
        ValueError: fewer rows than sizes.MIN_ROWS, or an unknown variant.
        FileExistsError: `path` exists and `force` is false, or a journal lies beside it.
        FileNotFoundError: the folder does not exist.
    """
    if variant not in get_args(Variant):
        raise ValueError(f"no variant {variant!r}; there are {', '.join(get_args(Variant))}")
    sizes = Sizes.of(rows)
    script = list(build.statements((HERE / "schema.sql").read_text(encoding="utf-8")))
    is_index = [" INDEX idx_" in statement for statement in script]
    with build.new_database(path, force=force, journal=journal) as connection:
        for statement, later in zip(script, is_index, strict=True):
            if not later:
                connection.execute(statement)
        _fill(connection, random.Random(seed), sizes)
        for statement, later in zip(script, is_index, strict=True):
            if later:  # one sort is quicker than a million insertions
                connection.execute(statement)
        if variant == "quirky":
            quirks.apply(connection, sizes)
        return build.row_counts(connection)


def _fill(connection: sqlite3.Connection, rng: random.Random, sizes: Sizes) -> None:
    """Stream every table's rows, parents first."""
    build.insert(connection, "users", marketplace.users(rng, sizes, sizes.users + VOIDED))
    _delete_top(connection, "users", sizes.users)
    streams: tuple[tuple[str, Iterable[marketplace.Row]], ...] = (
        ("properties", marketplace.properties(rng, sizes, sizes.properties)),
        ("units", marketplace.units(rng, sizes, sizes.units)),
        ("leases", marketplace.leases(rng, sizes, sizes.leases)),
        ("lease_tenants", marketplace.lease_tenants(sizes)),
        ("invoices", marketplace.invoices(rng, sizes, sizes.invoices + VOIDED)),
        ("payments", marketplace.payments(rng, sizes, sizes.payments + VOIDED)),
        ("receipts", marketplace.receipts(rng, sizes)),
        ("integrations", marketplace.integrations()),
        ("migrations", marketplace.migrations()),
    )
    for table, stream in streams:
        build.insert(connection, table, stream)
    _delete_top(connection, "invoices", sizes.invoices)
    _delete_top(connection, "payments", sizes.payments)


def _delete_top(connection: sqlite3.Connection, table: str, keep: int) -> None:
    """Delete the rows numbered above `keep`; sqlite_sequence stays where it was."""
    connection.execute(f"DELETE FROM {table} WHERE id > ?", (keep,))  # noqa: S608 - a name from this file


def main(arguments: list[str] | None = None) -> int:
    """Command line; 2 for arguments that cannot be used, as argparse answers them."""
    parser = argparse.ArgumentParser(description="Make the sample marketplace as a SQLite file.")
    parser.add_argument("path", type=Path)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", choices=SCALES, help="small (the default), medium, large: 2k, 100k, 1M rows")
    size.add_argument("--rows", type=int, metavar="N", help="rows over all tables, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", choices=get_args(Variant), default="clean")
    parser.add_argument("--journal", choices=get_args(build.Journal), default="delete")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    given = parser.parse_args(arguments)
    try:
        counts = generate(
            given.path,
            rows=SCALES[given.scale or "small"] if given.rows is None else given.rows,
            seed=given.seed,
            variant=given.variant,
            journal=given.journal,
            force=given.force,
        )
    except (ValueError, FileExistsError, FileNotFoundError) as problem:
        parser.error(str(problem))
    sys.stdout.write(build.summary(given.path, counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
