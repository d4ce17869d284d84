"""One odd value at the very end of a large table is found by the plan's one scan, and named with its key.

`NASMIGRATE_LATE_ROWS` sets the number of rows; `make soak` runs it with five million.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from support.processes import environment

ROWS = int(os.environ.get("NASMIGRATE_LATE_ROWS", "300000"))


def test_one_odd_value_after_many_even_ones_is_named_by_the_plan(tmp_path: Path) -> None:
    source = tmp_path / "late.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, d DATETIME)")
        connection.execute(
            "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?)"
            " INSERT INTO t SELECT i, i % 1000, '2024-01-02 03:04:05' FROM c",
            (ROWS,),
        )
        connection.execute("UPDATE t SET n = '12abc', d = '2024-02-30 00:00:00' WHERE id = ?", (ROWS,))
        connection.commit()
    done = subprocess.run(
        [sys.executable, "-m", "nasmigrate", "plan", source.name, "--json"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    findings = {
        (finding["code"], finding["column"]): (finding["count"], finding["keys"])
        for finding in json.loads(done.stdout)["findings"]
    }
    assert findings["TEXT_IN_INTEGER", "n"] == (1, [f"id={ROWS}"])
    assert findings["INVALID_DATE", "d"] == (1, [f"id={ROWS}"])
