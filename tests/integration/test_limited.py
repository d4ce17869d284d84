"""A child with limits: whatever goes wrong in it comes back as an error with a name, and soon."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nasmigrate.core import limited
from nasmigrate.core.errors import SourceCorrupt
from nasmigrate.core.limited import ChildTraceback, LimitedProcess, LimitPassed, Limits, Watch

ROOMY = Limits(seconds=60, memory=2 << 30, file_bytes=1 << 20)
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child finds the functions, and nobody waits long for it."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setattr(limited, "GRACE", 0.5)


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """All children are gone afterwards."""
    before = set(psutil.Process().children())
    yield
    assert set(psutil.Process().children()) == before


pytestmark = pytest.mark.usefixtures("no_child_left")


def run(name: str, job: object = None, limits: Limits = ROOMY) -> list[object]:
    with LimitedProcess(f"support.limited_jobs:{name}") as process:
        return list(process.run(limits, job))


def test_reports_come_through_in_order() -> None:
    assert run("echo", {"a": 1}) == [{"a": 1}, [{"a": 1}, {"a": 1}]]


def test_an_error_comes_back_whole_with_its_traceback() -> None:
    with pytest.raises(SourceCorrupt) as caught:
        run("raises", 7)
    assert (caught.value.hint, caught.value.details) == ("restore", {"page": 7})
    assert isinstance(caught.value.__cause__, ChildTraceback)
    assert "limited_jobs.py" in str(caught.value.__cause__)


@pytest.mark.parametrize("name", ["hangs", "spins"])
def test_a_child_that_never_ends_is_ended(name: str) -> None:
    with pytest.raises(LimitPassed, match=r"0\.5 s") as caught:
        run(name, limits=dataclasses.replace(ROOMY, seconds=0.5))
    assert caught.value.what == "time"


def test_memory_has_a_limit() -> None:
    with pytest.raises(MemoryError):
        run("allocates")


def test_a_file_has_a_limit(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too large"):
        run("writes", tmp_path / "large")
    assert (tmp_path / "large").stat().st_size <= 1 << 20


@pytest.mark.parametrize(("name", "words"), [("crashes", "SIGSEGV"), ("leaves", "exit code 7")])
def test_a_crash_is_an_error_here(name: str, words: str) -> None:
    with pytest.raises(LimitPassed, match=words) as caught:
        run(name)
    assert caught.value.what == "crash"


def test_the_limits_are_set_before_the_job_begins() -> None:
    first, second = run("tells")
    assert first == {"core": (0, 0), "as": (2 << 30, 2 << 30)}
    assert isinstance(second, dict)
    assert 60 <= second["cpu"] <= 70
    assert second["parent"] == os.getpid()


def test_a_child_that_is_never_asked_goes_away() -> None:
    with LimitedProcess("support.limited_jobs:echo") as process:
        process.start()
        process.start()
        assert len(psutil.Process().children()) >= 1


def test_leaving_early_ends_the_child() -> None:
    with LimitedProcess("support.limited_jobs:hangs") as process:
        assert next(iter(process.run(ROOMY, None))) == "begun"


def test_a_report_gives_new_time() -> None:
    now = [0.0]
    watch = Watch(10, clock=lambda: now[0])
    now[0] = 9
    assert not watch.passed()
    watch.renew()
    now[0] = 18
    assert not watch.passed()
    now[0] = 20
    assert watch.passed()
