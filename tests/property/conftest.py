"""Settings of all property tests: `ci` gives the same examples everywhere, `explore` new ones at each run.

HYPOTHESIS_PROFILE=explore tries five times as many. Examples share module-scoped databases: a function-scoped
fixture would be one database for all examples of a test anyway.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from support.postgres import fresh_database

from nasmigrate.postgres.embedded import EmbeddedServer

_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "ci", derandomize=True, print_blob=True, deadline=None, database=None, suppress_health_check=_SLOW
)
settings.register_profile("explore", print_blob=True, deadline=None, database=None, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """A connection to an empty database; what an example does there it rolls back."""
    with fresh_database(server.dsn) as dsn, psycopg.connect(dsn) as connected:
        yield connected
