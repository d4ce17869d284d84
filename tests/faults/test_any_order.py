"""Every command in any order, killed and suspended anywhere, while the application writes; checked after each step.

A plain run takes a fixed sample; NASMIGRATE_ORDERS says how many orders of commands are tried (`make soak`).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support import faults
from support.night import LIMIT, make_rehearsed, night_on
from support.servers import Server, embedded_programs, postgres
from support.shop import WRITES, Shop, read

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.phases import CUTOVER, ROLLBACK
from nasmigrate.core.progress import Silent
from nasmigrate.core.target import resolve_target
from nasmigrate.workflows.status import status

ORDERS = int(os.environ.get("NASMIGRATE_ORDERS", "4"))
STEPS = 7
PRODUCTS = st.integers(2, 12)
"""Product 1 stays: the question who takes writes needs it."""
DONE, DIFFERENCES, INCONCLUSIVE, SOURCE, STATE, ROLLED_BACK, ROLLBACK_FAILED = 0, 3, 4, 7, 11, 12, 13
STOPPED = {DIFFERENCES, SOURCE, STATE, ROLLED_BACK, ROLLBACK_FAILED}
"""How a command that was held up by another run may end; `status` says where things stand then."""
RESUMED = {
    "SQLite": {DONE, INCONCLUSIVE, STATE},
    "Postgres": {DONE, INCONCLUSIVE},
    "neither": {DONE, INCONCLUSIVE},
}
POINTS = {
    command: [point for phase in table if phase.key != "P10" for point in faults.points(phase)]
    for command, table in (("cutover", CUTOVER), ("rollback", ROLLBACK))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all orders share: a server, and a rehearsed folder for each journal mode."""

    server: Server
    rehearsed: dict[str, Path]
    folder: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with postgres(programs=embedded_programs(), settings=faults.DURABLE) as server:
        rehearsed = {}
        for mode in ("WAL", "DELETE"):
            rehearsed[mode] = make_rehearsed(tmp_path_factory.mktemp(f"rehearsed-{mode}"), mode=mode, rows=12)
        yield Stage(server=server, rehearsed=rehearsed, folder=tmp_path_factory.mktemp("orders"))


class Orders(RuleBasedStateMachine):
    """One night after another, each on a file and a database of its own."""

    stage: Stage
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.suspended: subprocess.Popen[bytes] | None = None
        self.final = False
        self.steps = 0
        self.serving = self.said = "SQLite"

    @initialize(mode=st.sampled_from(["WAL", "DELETE"]))
    def begin(self, mode: str) -> None:
        """An application that has just started to write."""
        number = next(self.numbers)
        folder = faults.fresh_folder(self.stage.folder, number)
        server, rehearsed = self.stage.server.dsn, self.stage.rehearsed[mode]
        self.night = self.stack.enter_context(night_on(server, folder, rehearsed, f"order{number}"))
        self.night.start_writers(pause=0.05)
        self.shop = Shop(night=self.night, content=read(self.night, "SQLite"))

    @rule(writes=st.lists(st.tuples(st.sampled_from(sorted(WRITES)), PRODUCTS, PRODUCTS), max_size=3), data=st.data())
    def step(self, writes: list[tuple[str, int, int]], data: st.DataObject) -> None:
        """Some transactions of the application, which is told whether they were taken, and a command."""
        for what, product, other in writes:
            note(f"# {what} {product} {other}: {self.shop.write(what, product, other)}")
        # One rule that draws from all: hypothesis leaves rules out of an order, which takes many orders to even out.
        command = data.draw(st.sampled_from(self.likely()))
        if command in ("killed", "suspend"):
            usual = "rollback" if self.serving == "Postgres" else "cutover"
            what = data.draw(st.sampled_from([usual, usual, "cutover", "rollback"]))
            getattr(self, command)(what, data.draw(st.sampled_from(POINTS[what])))
        else:
            getattr(self, command)()

    def likely(self) -> list[str]:
        """The commands, those more than once that do more."""
        commands = ["cutover", "rollback", "killed", "killed", "killed", "resume", "forward", "abort"]
        commands += ["rollback"] if self.serving == "Postgres" else ["cutover"]
        commands += ["suspend"] if self.suspended is None else ["wake", "wake"]
        commands += ["finalize"] if self.serving == "Postgres" and not self.final else []
        # The first order that hypothesis tries is the one that always takes the first of everything.
        self.steps += 1
        turn = 3 * self.steps % len(commands)
        return commands[turn:] + commands[:turn]

    # -- the commands ----------------------------------------------------------------------------------------------

    def cutover(self) -> None:
        """To its end."""
        self.run("cutover", {"SQLite": {DONE, INCONCLUSIVE}, "Postgres": {STATE}, "neither": {STATE}})

    def rollback(self) -> None:
        """To its end."""
        way_back = {STATE} if self.final else {DONE, INCONCLUSIVE}
        self.run("rollback", {"SQLite": {STATE}, "Postgres": way_back, "neither": {STATE}})

    def killed(self, command: str, point: str) -> None:
        """Killed at a point, if it comes to it."""
        process = self.night.drive(command, point, signal.SIGKILL)
        note(f"# {command} {point}: killed" if process.returncode < 0 else f"# {command}: {process.returncode}")

    def suspend(self, command: str, point: str) -> None:
        """Suspended at a point, if it comes to it, while everything else goes on."""
        process = self.night.drive(command, point, signal.SIGSTOP, wait=False)
        with suppress(AssertionError):
            faults.wait_until_stopped(process, self.night)
        if process.poll() is None:
            self.suspended = process
        note(f"# {command} {point}: {'suspended' if self.suspended else process.returncode}")

    def wake(self) -> None:
        """The suspended run goes on, whatever happened meanwhile."""
        assert self.suspended is not None
        self.suspended.send_signal(signal.SIGCONT)
        try:
            code = self.suspended.wait(LIMIT)
        finally:
            self.suspended.kill()
        self.suspended = None
        note(f"# woken: {code}")
        assert code in {DONE, INCONCLUSIVE, *STOPPED}

    def resume(self) -> None:
        """Whatever there is to resume."""
        self.run("resume", RESUMED)
        assert self.suspended is not None or self.writer() != "neither", "resume leaves nobody that takes writes"

    def forward(self) -> None:
        """On to Postgres, where that is still open."""
        self.run("resume", RESUMED, "--forward", "--yes", "--confirm", self.night.database)

    def abort(self) -> None:
        """Where that is still possible."""
        self.run("abort", {"SQLite": {DONE, INCONCLUSIVE, STATE}, "Postgres": {STATE}, "neither": {DONE, INCONCLUSIVE}})

    def finalize(self) -> None:
        """No way back from here."""
        flags = ("--yes", "--confirm", self.night.database, "--no-way-back")
        self.final |= self.run("finalize", {"Postgres": {DONE}}, *flags) == DONE

    def run(self, what: str, expected: dict[str, set[int]], *flags: str) -> int:
        """Run a command; how it may end follows from who takes writes, unless a suspended run is in its way."""
        code = self.night.run(what, *flags).returncode
        note(f"# {what} {' '.join(flags[:1])}: {code}")
        in_the_way = STOPPED if self.suspended else {ROLLED_BACK} if what == "cutover" else set()
        assert code in expected[self.said] | in_the_way, (self.said, what, code)
        return code

    # -- what must hold --------------------------------------------------------------------------------------------

    def writer(self) -> str:
        """Who takes writes, as `status` says."""
        loaded = load_config(self.night.folder, environ={})
        context = Context(config=loaded.config, base=loaded.base, reporter=Silent())
        target = resolve_target(self.night.dsn, environ={}, from_argv=False)
        return status(context, self.night.source, target).writer

    @invariant()
    def status_tells_the_truth(self) -> None:
        """At most one engine takes writes; it is the one that status names, and holds all that was acknowledged."""
        takers, said = self.night.takers(), self.writer()
        self.said = said
        assert len(takers) <= 1, "two engines take writes"
        assert takers <= {said}, (takers, said)
        if self.suspended is None:
            assert takers == {said} - {"neither"}, (takers, said)
        for engine in takers:
            self.serving = engine
            self.shop.check(engine)

    def teardown(self) -> None:
        """However it ended, `resume` settles it, and the writers' count is right."""
        with self.stack:
            if self.suspended is not None:
                self.wake()
            serving, _ = faults.settled(self.night)
            self.shop.check(serving)


def test_one_engine_serves_and_nothing_is_lost_in_any_order(stage: Stage) -> None:
    class OnStage(Orders):
        pass

    OnStage.stage = stage
    run_state_machine_as_test(
        OnStage,
        settings=settings(
            max_examples=ORDERS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=True,
            # A step takes seconds, so an order that failed is told as it was.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
