"""Checks before a cutover that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasmigrate.workflows.cutover import preflight
from nasmigrate.workflows.cutover.options import Options


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p"])
def test_a_network_file_system_is_refused_unless_the_application_is_stopped(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "file_system_of", lambda _path: kind)
    (line,) = preflight._file_system(tmp_path / "app.db", Options())
    assert line.startswith("REMOTE_FILE_SYSTEM")
    assert kind in line
    assert list(preflight._file_system(tmp_path / "app.db", Options(app_stopped=True))) == []


def test_a_local_file_system_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "file_system_of", lambda _path: "ext4")
    assert list(preflight._file_system(tmp_path / "app.db", Options())) == []
