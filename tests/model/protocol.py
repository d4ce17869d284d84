"""A state-space model of cutover, rollback and resume, built on the phase tables of the package.

Two tools, two targets and two writers take steps in any order; a tool may stop for ever after any step (a crash), and
pauses are the interleavings themselves. What a step does follows from its action; what it is conditional on follows
from the guards in the table, so that a guard taken out of the table is taken out of the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nasmigrate.core.phases import CUTOVER, FORWARD, REOPEN, ROLLBACK, UNDO, Action, Guard, Phase, Step

CLOSED, OPEN, DRAINING = "C", "O", "D"
TARGETS = (0, 1)
TOOLS = (0, 1)


class Fence(NamedTuple):
    """The fence row: whose, and made or stamped at which epoch."""

    target: int
    epoch: int


class Control(NamedTuple):
    """The control row of one target."""

    epoch: int
    state: str


class Tool(NamedTuple):
    """A run of the tool: which program on which target, how far, and what it knows.

    `scanned`: what it read of the source is all that is there. `home`: what it brought is all that Postgres has.
    """

    program: str
    target: int
    position: int = 0
    epoch: int = -1
    scanned: bool = False
    home: bool = False


class State(NamedTuple):
    """Everything that a next step depends on.

    `lock`: the tool with a write transaction on the source. `fresh`: per target, it holds every row of the source.
    `behind`: per target, it has rows that the source lacks. `table_locks`: per target, the tool whose Postgres
    transaction locks the tables. `writers`: the target on which each writer has a transaction under way.
    """

    fence: Fence | None
    lock: int | None
    controls: tuple[Control, Control]
    fresh: tuple[bool, bool]
    behind: tuple[bool, bool]
    table_locks: tuple[int | None, int | None]
    writers: tuple[int | None, int | None]
    tools: tuple[Tool | None, Tool | None]
    starts: int


START = State(
    fence=None,
    lock=None,
    controls=(Control(0, CLOSED), Control(0, CLOSED)),
    fresh=(False, False),
    behind=(False, False),
    table_locks=(None, None),
    writers=(None, None),
    tools=(None, None),
    starts=4,
)


class Unsafe(Exception):
    """A step that loses a write."""


def put(values: tuple, index: int, value: object) -> tuple:
    """`values` with one item replaced."""
    return (*values[:index], value, *values[index + 1 :])


def steps_of(phases: Sequence[Phase]) -> tuple[Step, ...]:
    """All steps of a table in order."""
    return tuple(step for phase in phases for step in phase.steps)


CLAIMABLE = {
    "cutover": CLOSED,
    "undo": CLOSED,
    "forward": CLOSED,
    "rollback": OPEN + DRAINING,
    "reopen": DRAINING,
    "close": DRAINING,
}
"""In which states of the control row a program takes over."""


@dataclass(frozen=True)
class Model:
    """The protocol as the tables say it, without the guards in `removed`."""

    removed: frozenset[Guard] = frozenset()
    cutover: tuple[Phase, ...] = CUTOVER
    rollback: tuple[Phase, ...] = ROLLBACK
    commits_may_be_lost: bool = False
    """Whether a COMMIT in the source, of fence or rows, may return with nothing written (a lock that was lost)."""

    def programs(self) -> dict[str, tuple[Step, ...]]:
        """What a tool can be doing."""
        cutover, rollback = steps_of(self.cutover), steps_of(self.rollback)
        if Guard.FENCED in self.removed:
            cutover = moved(cutover, Action.OPEN, before=Action.FENCE)
        if Guard.HOME in self.removed:
            rollback = moved(rollback, Action.UNFENCE, before=Action.DRAIN)
        if Guard.DRAINING in self.removed:
            rollback = moved(rollback, Action.CLOSE, before=Action.UNFENCE)
        close = tuple(step for step in rollback if step.action in (Action.CLAIM, Action.CLOSE))
        return {
            "cutover": cutover,
            "rollback": rollback,
            "undo": UNDO,
            "forward": FORWARD,
            "reopen": REOPEN,
            "close": close,
        }

    def explore(self, start: State = START) -> tuple[int, list[State] | None]:
        """Visit every reachable state, nearest first: their number, and the way to the first unsafe one."""
        programs = self.programs()
        came: dict[State, State | None] = {start: None}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            try:
                for following in self.following(state, programs):
                    if following not in came:
                        came[following] = state
                        if not safe(following):
                            return len(came), way(came, following)
                        queue.append(following)
            except Unsafe:
                return len(came), way(came, state)
        return len(came), None

    def following(self, state: State, programs: dict[str, tuple[Step, ...]]) -> Iterator[State]:
        """Every state that one step of anyone leads to."""
        yield from source_writes(state)
        for writer in (0, 1):
            yield from target_writes(state, writer)
        for number in TOOLS:
            tool = state.tools[number]
            if tool is None:
                yield from self._starts(state, number)
                continue
            yield stopped(state, number)
            yield from self._step(state, number, tool, programs[tool.program])

    def _starts(self, state: State, number: int) -> Iterator[State]:
        if not state.starts:
            return
        untouched = state.controls == START.controls and state.tools == START.tools
        for target in (0,) if untouched else TARGETS:  # until then both are alike
            for program in readings(state, target):
                tools = put(state.tools, number, Tool(program, target))
                yield state._replace(tools=tools, starts=state.starts - 1)

    def _step(self, state: State, number: int, tool: Tool, program: tuple[Step, ...]) -> Iterator[State]:
        if tool.position == len(program):
            return
        step = program[tool.position]
        guards = step.guards - self.removed
        control, target = state.controls[tool.target], tool.target
        moved_on = tool._replace(position=tool.position + 1)
        mine = control == Control(tool.epoch, control.state)

        def then(state: State, tool: Tool = moved_on) -> State:
            return state._replace(tools=put(state.tools, number, tool))

        def bears(fence: Fence | None) -> bool:
            """Whether this tool may drop or stamp that fence."""
            return (
                fence is not None
                and (Guard.OWN not in guards or fence.target == target)
                and (Guard.OLDER not in guards or fence.epoch < tool.epoch)
            )

        untried = tool.program == "cutover" and Action.OPEN in {later.action for later in program[tool.position :]}
        if untried and state.lock is None and state.fence == Fence(target, tool.epoch):
            # It stops before it tried to open: nobody else can open with this fence, so it drops it by itself.
            yield stopped(state, number)._replace(fence=None)
        match step.action:
            case Action.CLAIM:
                if Guard.BUMP in guards and control.state not in CLAIMABLE[tool.program]:
                    yield stopped(state, number)
                    return
                epoch = control.epoch + (Guard.BUMP in guards)
                # Sessions of whoever had the row are ended, and with them their table locks.
                yield then(
                    state._replace(
                        controls=put(state.controls, target, Control(epoch, control.state)),
                        table_locks=put(state.table_locks, target, None),
                    ),
                    moved_on._replace(epoch=epoch),
                )
            case Action.SCAN:
                yield then(state, moved_on._replace(scanned=True))
            case Action.APPLY:
                if Guard.HELD in guards and control != Control(tool.epoch, CLOSED):
                    yield stopped(state, number)
                elif control.state != CLOSED:
                    raise Unsafe
                else:
                    yield then(state._replace(fresh=put(state.fresh, target, tool.scanned)))
            case Action.LOCK_SOURCE:
                if state.lock is not None:
                    return
                if Guard.FREE in guards and state.fence is not None:
                    yield stopped(state, number)
                else:
                    yield then(state._replace(lock=number if Guard.FROZEN in guards else None))
            case Action.FENCE:
                if state.lock not in (None, number):
                    return
                freed = state._replace(lock=None)
                yield then(freed._replace(fence=Fence(target, tool.epoch)))
                if self.commits_may_be_lost:
                    yield then(freed)
            case Action.CHECK_FENCE:
                seen = state.fence == Fence(target, tool.epoch)
                yield then(state) if seen or Guard.SEEN not in guards else stopped(state, number)
            case Action.RESTAMP:
                if state.lock is not None:
                    return
                if not bears(state.fence):
                    yield stopped(state, number)
                else:
                    stamped = Fence(target, tool.epoch) if Guard.STAMPED in guards else state.fence
                    yield then(state._replace(fence=stamped))
            case Action.OPEN:
                expected = CLAIMABLE[tool.program]
                if Guard.EPOCH in guards and not (mine and control.state in expected):
                    yield stopped(state, number)
                else:
                    if control.state == CLOSED and not state.fresh[target]:
                        raise Unsafe
                    yield then(state._replace(controls=put(state.controls, target, Control(control.epoch, OPEN))))
            case Action.BEGIN_HOME:
                if state.lock is not None:
                    return
                yield then(state._replace(lock=number)) if bears(state.fence) else stopped(state, number)
            case Action.LOCK_TARGET:
                if Guard.HELD in guards and not (mine and control.state in OPEN + DRAINING):
                    yield stopped(state, number)
                elif Guard.LOCKED not in guards:
                    yield then(state)
                elif state.table_locks[target] is None and target not in state.writers:
                    yield then(state._replace(table_locks=put(state.table_locks, target, number)))
            case Action.BRING:
                yield then(state, moved_on._replace(home=True))
            case Action.DRAIN:
                alive = state.table_locks[target] == number or Guard.LOCKED in self.removed
                if not (alive and mine and control.state in OPEN + DRAINING):
                    yield stopped(state, number)
                else:
                    yield then(
                        state._replace(
                            controls=put(state.controls, target, Control(control.epoch, DRAINING)),
                            table_locks=put(state.table_locks, target, None),
                        )
                    )
            case Action.UNFENCE:
                yield from self._unfence(state, number, tool, bears(state.fence), then)
            case Action.CHECK_HOME:
                yield then(state) if state.fence is None or Guard.ARRIVED not in guards else stopped(state, number)
            case Action.CLOSE:
                if not (mine and control.state == DRAINING):
                    yield stopped(state, number)
                else:
                    closed = Control(control.epoch + 1, CLOSED)
                    yield then(
                        state._replace(controls=put(state.controls, target, closed)),
                        moved_on._replace(epoch=closed.epoch),
                    )

    def _unfence(self, state: State, number: int, tool: Tool, may: bool, then: object) -> Iterator[State]:
        if tool.program == "undo":
            if state.lock is not None:
                return
            yield then(state._replace(fence=None)) if may else stopped(state, number)  # type: ignore[operator]
            return
        if state.lock != number or not may:
            yield stopped(state, number)
            return
        changed = source_changed(state._replace(fence=None, lock=None))
        if tool.home:
            changed = changed._replace(
                behind=put(state.behind, tool.target, False), fresh=put(changed.fresh, tool.target, True)
            )
        yield then(changed)  # type: ignore[operator]
        if self.commits_may_be_lost:
            yield then(state._replace(lock=None))  # type: ignore[operator]


def moved(steps: tuple[Step, ...], action: Action, *, before: Action) -> tuple[Step, ...]:
    """`steps` with the one of `action` put before the first one of another."""
    one = next(step for step in steps if step.action is action)
    rest = [step for step in steps if step is not one]
    index = next(i for i, step in enumerate(rest) if step.action is before)
    return (*rest[:index], one, *rest[index:])


def readings(state: State, target: int) -> tuple[str, ...]:
    """What a tool may begin, by the two authorities as they are now."""
    control = state.controls[target].state
    if state.fence is None:
        return {CLOSED: ("cutover",), DRAINING: ("close",), OPEN: ()}[control]
    if state.fence.target != target:
        return ()
    return {CLOSED: ("undo", "forward"), OPEN: ("rollback",), DRAINING: ("rollback", "reopen")}[control]


def stopped(state: State, number: int) -> State:
    """The tool ends, by itself or by a crash: its transactions are rolled back."""
    return state._replace(
        tools=put(state.tools, number, None),
        lock=None if state.lock == number else state.lock,
        table_locks=tuple(None if holder == number else holder for holder in state.table_locks),
    )


def source_changed(state: State) -> State:
    """After a commit in the source, nothing that was read of it before is all of it."""
    tools = tuple(tool and tool._replace(scanned=False) for tool in state.tools)
    return state._replace(fresh=(False, False), tools=tools)


def source_writable(state: State) -> bool:
    """Whether the source takes a write now."""
    return state.fence is None and state.lock is None


def source_writes(state: State) -> Iterator[State]:
    """A writer commits a row in the source."""
    if source_writable(state):
        yield source_changed(state)


def target_writes(state: State, writer: int) -> Iterator[State]:
    """A writer begins a transaction on an open target, or commits the one that is under way."""
    under_way = state.writers[writer]
    if under_way is not None:
        # A table lock waits for it, so it commits unless the lock was given beforehand.
        if state.table_locks[under_way] is None:
            tools = tuple(tool and tool._replace(home=tool.home and tool.target != under_way) for tool in state.tools)
            yield state._replace(
                writers=put(state.writers, writer, None),
                behind=put(state.behind, under_way, True),
                fresh=put(state.fresh, under_way, False),
                tools=tools,
            )
        return
    for target in TARGETS:
        if state.controls[target].state == OPEN and state.table_locks[target] is None:
            yield state._replace(writers=put(state.writers, writer, target))


def safe(state: State) -> bool:
    """At most one engine takes writes, and none takes them while it lacks acknowledged ones."""
    opened = sum(control.state == OPEN for control in state.controls)
    if source_writable(state):
        return not opened and not any(state.behind)
    return opened <= 1


def way(came: dict[State, State | None], state: State) -> list[State]:
    """The states from the start to `state`."""
    found = [state]
    while (before := came[found[-1]]) is not None:
        found.append(before)
    return found[::-1]
