"""One whole stack for all tests of a worker, brought up and taken down through the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.stack import IMAGES, Stack, new_stack

LONGEST = ("test_8_cutover.py", "test_4_seed.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that two workers end at about the same time."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def _images_by_dot_env() -> None:
    """The environment wins over .env, where these tests say which images they want."""
    for name in IMAGES:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Postgres, Redis, Kill Bill and the marketplace, healthy."""
    with new_stack(tmp_path_factory.mktemp("whole")) as made:
        made.must("stack", "up")
        yield made
