"""What a rehearsed cutover and rollback leave: the comparison at home knows what the application wrote meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from support.processes import nasmigrate


def test_an_original_that_was_written_over_is_no_difference(tmp_path: Path) -> None:
    """A value of another row, in a column of several classes: it comes home as what its own bytes say."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'k'), (2, x'00'), (3, 5);"
        )
    (tmp_path / "nasmigrate.toml").write_text('[source]\npath = "app.db"\n[plan]\naccept = ["MIXED_CLASSES:t.x"]\n')
    done = nasmigrate(tmp_path, "rehearse")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "home-again" in done.stdout
