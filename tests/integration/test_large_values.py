"""Values at the limits of a field of Postgres."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.copies import copied

from nasmigrate.core.errors import ValueTooLarge
from nasmigrate.schema.planning import limits


def test_a_value_over_the_limit_is_refused_before_anything_is_written(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, small BLOB, large BLOB)")
        connection.execute("INSERT INTO t VALUES (1, zeroblob(1000), zeroblob(1001))")
        connection.commit()
    monkeypatch.setattr(limits, "FIELD_BYTES", 1000)
    with pytest.raises(ValueTooLarge) as refused:
        copied(tmp_path / "base", tmp_path / "app.db", database)
    assert int(refused.value.exit_code) == 6
    assert "t.large" in refused.value.message
    assert "1,001 bytes" in refused.value.message
    monkeypatch.undo()
    assert copied(tmp_path / "again", tmp_path / "app.db", database).exit_code == 0
