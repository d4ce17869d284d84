"""Nights to be disturbed; see support/night.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.night import Night, make_source, night_on
from support.processes import nasmigrate

from nasmigrate.postgres.embedded import EmbeddedServer, embedded_server


@pytest.fixture(scope="session")
def durable() -> Iterator[EmbeddedServer]:
    """A server that a cutover accepts."""
    with embedded_server(durable=True) as running:
        yield running


@pytest.fixture(scope="session")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source whose rehearsal passed."""
    folder = tmp_path_factory.mktemp("rehearsed")
    make_source(folder / "app.db")
    night = Night(folder=folder, dsn="dbname=unused", role="unused")
    night.write_settings()
    done = nasmigrate(folder, "rehearse")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def night(durable: EmbeddedServer, rehearsed: Path, tmp_path: Path) -> Iterator[Night]:
    """A night of its own for each test, with two writers."""
    with night_on(durable.dsn, tmp_path, rehearsed, f"n{uuid.uuid4().hex[:10]}") as made:
        made.start_writers()
        yield made
