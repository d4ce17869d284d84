"""Everything a database holds, to show that nobody touched it."""

from __future__ import annotations

import subprocess

import psycopg
from support.processes import environment

from nasmigrate.postgres.server_programs import find_programs

_WRITTEN_BY = """
SELECT array_agg(line ORDER BY line) FROM (
    SELECT 'relation ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text || ' ' || c.xmin::text AS line
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_'
    UNION ALL SELECT 'function ' || p.oid::regprocedure::text || ' ' || p.xmin::text FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'schema ' || nspname || ' ' || xmin::text FROM pg_namespace
    UNION ALL SELECT 'type ' || t.typname || ' ' || t.xmin::text FROM pg_type t
    JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
) lines
"""


def dumped(database: str) -> str:
    """Catalogue, contents and rights as SQL, by pg_dump."""
    done = subprocess.run(
        [find_programs() / "bin" / "pg_dump", "--dbname", database],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # \restrict has a random word in each dump.
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    return "\n".join(lines)


def state(database: str) -> tuple[str, object]:
    """The dump, and every object with the transaction that wrote it last: made anew, it would be another."""
    with psycopg.connect(database) as connection:
        return dumped(database), connection.execute(_WRITTEN_BY).fetchone()
