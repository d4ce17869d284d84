"""Names on both sides: what an application looks for in Postgres is there under the name it knows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
from support.copies import copied, gates

TYPEORM = """
CREATE TABLE "user" (
    "id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "email" varchar NOT NULL, "handle" varchar NOT NULL,
    CONSTRAINT "UQ_e12875dfb3b1d92d7d7c5377e22" UNIQUE ("email"), CONSTRAINT "CHK_1a2b" CHECK ("handle" <> '')
);
CREATE TABLE "post" (
    "id" varchar NOT NULL, "authorId" integer,
    CONSTRAINT "PK_be5fda3aac270b134ff9c21cdee" PRIMARY KEY ("id"),
    CONSTRAINT "FK_c6fb082a3114f35d0cc27c518e0" FOREIGN KEY ("authorId") REFERENCES "user" ("id") ON DELETE CASCADE
);
CREATE UNIQUE INDEX "IDX_2a32f641edba1d0f973c19cc94" ON "user" ("handle");
INSERT INTO "user" VALUES (1, 'a@example.org', 'a'), (7, 'b@example.org', 'b');
INSERT INTO "post" VALUES ('x', 7);
DELETE FROM "user" WHERE id = 1;
ANALYZE;
"""


def made(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def test_hashed_names_of_constraints_and_indexes_are_kept_and_internal_tables_are_not_copied(
    database: str, tmp_path: Path
) -> None:
    result = copied(tmp_path, made(tmp_path / "app.db", TYPEORM), database)
    assert set(gates(result).values()) <= {"pass", "skipped"}
    with psycopg.connect(database) as connection:
        constraints = connection.execute(
            "SELECT conname::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
        ).fetchall()
        assert {name for (name,) in constraints} == {
            "user_pkey",
            "UQ_e12875dfb3b1d92d7d7c5377e22",
            "CHK_1a2b",
            "PK_be5fda3aac270b134ff9c21cdee",
            "FK_c6fb082a3114f35d0cc27c518e0",
        }
        tables = connection.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert sorted(tables) == [("post",), ("user",)]
        indexes = connection.execute("SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'").fetchall()
        assert ("IDX_2a32f641edba1d0f973c19cc94",) in indexes
