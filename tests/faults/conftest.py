"""Nights to be disturbed; see support/night.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.night import Night, make_rehearsed, night_on

from nasmigrate.postgres.embedded import EmbeddedServer, embedded_server


@pytest.fixture(scope="session")
def durable() -> Iterator[EmbeddedServer]:
    """A server that a cutover accepts."""
    with embedded_server(durable=True) as running:
        yield running


@pytest.fixture(scope="session")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source whose rehearsal passed."""
    return make_rehearsed(tmp_path_factory.mktemp("rehearsed"))


@pytest.fixture
def night(durable: EmbeddedServer, rehearsed: Path, tmp_path: Path) -> Iterator[Night]:
    """A night of its own for each test, with two writers."""
    with night_on(durable.dsn, tmp_path, rehearsed, f"n{uuid.uuid4().hex[:10]}") as made:
        made.start_writers()
        yield made
