"""Fixtures for all tests: one embedded PostgreSQL server per session, one database per test that asks.

A server that cannot start fails the tests that need it; it never skips them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from support.pipeline import Pipeline
from support.postgres import fresh_database

from nasmigrate.postgres.embedded import EmbeddedServer, embedded_server


def pytest_configure() -> None:
    """Workers, and jobs in the background, may have been started with SIGINT ignored, and so would all they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """One server for the whole session, with the settings of a scratch cluster."""
    with embedded_server() as running:
        yield running


@pytest.fixture
def database(server: EmbeddedServer) -> Iterator[str]:
    """The conninfo of an empty database that no other test sees."""
    with fresh_database(server.dsn) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def pipeline(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The whole pipeline over a database that is emptied before each copy."""
    with fresh_database(server.dsn) as dsn:
        yield Pipeline(conninfo=dsn, base=tmp_path_factory.mktemp("pipeline"))
