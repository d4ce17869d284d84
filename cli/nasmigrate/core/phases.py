"""The phases of a cutover and of a rollback, as data: what runs, in which order, and behind which guards.

The workflows run the phases in the order of these tables, `docs/cutover.md` prints them, and the state-space model
in `tests/model/` is built on them: it explores every interleaving with crashes and pauses, and shows that each guard
is necessary.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """An atomic step of the protocol: what another process sees done or not done."""

    CLAIM = "claim"
    """Take the control row over: epoch + 1, state unchanged."""
    SCAN = "scan"
    """Read the source."""
    APPLY = "apply"
    """Write to Postgres what was read."""
    LOCK_SOURCE = "lock-source"
    """BEGIN IMMEDIATE on the source."""
    FENCE = "fence"
    """Commit the fence; the lock on the source ends with it."""
    RESTAMP = "restamp"
    """Write one's own epoch into the fence that is there."""
    CHECK_FENCE = "check-fence"
    """A fresh process sees the fence and is refused a write."""
    OPEN = "open"
    """Control row to OPEN, and the grant, in one transaction."""
    LOCK_TARGET = "lock-target"
    """LOCK TABLE … IN EXCLUSIVE MODE on Postgres."""
    BEGIN_HOME = "begin-home"
    """Open the SQLite transaction that brings rows home and drops the fence."""
    BRING = "bring"
    """Write what Postgres has and SQLite lacks into an open SQLite transaction."""
    DRAIN = "drain"
    """Control row to DRAINING, and the revoke, in one transaction; the lock on the tables ends with it."""
    UNFENCE = "unfence"
    """Commit the SQLite transaction that drops the fence."""
    CHECK_HOME = "check-home"
    """A fresh process sees that the fence is gone."""
    CLOSE = "close"
    """Control row from DRAINING to CLOSED, epoch + 1."""


class Guard(StrEnum):
    """A condition without which an interleaving exists in which a write is lost or two engines take writes."""

    FREE = "no fence is there before one is made"
    FROZEN = "the source is locked before it is read for the last time"
    FENCED = "the fence is committed before the opening"
    SEEN = "a fresh process must see the fence before the opening"
    EPOCH = "the opening is conditional on the epoch"
    HELD = "every writing transaction holds the control row at its epoch and state"
    BUMP = "whoever takes over raises the epoch first, if the state is still the one that was read"
    OWN = "only a fence of one's own target is dropped or stamped anew"
    OLDER = "only a fence older than one's own epoch is dropped"
    STAMPED = "the fence carries the epoch that opens"
    LOCKED = "Postgres' tables are locked before they are read for the last time"
    HOME = "Postgres is closed, and its rows are read, before the fence is dropped"
    ARRIVED = "a fresh process must see that the fence is gone before Postgres is marked as closed"
    DRAINING = "Postgres stays marked as draining until the fence is dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action and the guards it is taken behind."""

    action: Action
    guards: frozenset[Guard] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase.

    Attributes:
        key: P0 … P10, R0 … R5.
        name: one word, as hooks and the log use it.
        does: what the tool does, one sentence.
        application: what the application sees meanwhile.
        killable: whether the watchdog may kill the tool's process that holds the source in this phase.
        commit_point: whether the side that serves changes with this phase's commit.
        after_crash: what `resume` does after a crash in this phase.
        steps: the atomic steps, in order.
    """

    key: str
    name: str
    does: str
    application: str
    killable: bool = True
    commit_point: bool = False
    after_crash: str
    steps: tuple[Step, ...] = ()


def _step(action: Action, *guards: Guard) -> Step:
    return Step(action=action, guards=frozenset(guards))


_STARTS_ANEW = "SQLite serves. `resume` tidies up; start `cutover` again."
_UNDONE = "Neither takes writes. The watchdog starts `resume`, which drops the fence: SQLite serves."

CUTOVER: tuple[Phase, ...] = (
    Phase(
        key="P0",
        name="preflight",
        does="Checks everything that can be checked before the first write, and names all that fails.",
        application="Nothing.",
        after_crash="SQLite serves. Start `cutover` again.",
    ),
    Phase(
        key="P1",
        name="snapshot",
        does="Copies the source into the run directory and compares its plan with the rehearsed one.",
        application="Nothing in WAL mode; with a rollback journal, commits wait for moments.",
        after_crash="SQLite serves. Start `cutover` again.",
        steps=(_step(Action.CLAIM, Guard.BUMP), _step(Action.SCAN)),
    ),
    Phase(
        key="P2",
        name="copy",
        does="Copies all rows into Postgres, makes keys and indexes, and proves the copy.",
        application="Nothing.",
        after_crash=_STARTS_ANEW,
        steps=(_step(Action.APPLY, Guard.HELD),),
    ),
    Phase(
        key="P3",
        name="catch-up",
        does="Carries over what changed meanwhile, again and again, until the rest fits into the allowed pause.",
        application="Nothing.",
        after_crash=_STARTS_ANEW,
        steps=(_step(Action.SCAN), _step(Action.APPLY, Guard.HELD)),
    ),
    Phase(
        key="P4",
        name="freeze",
        does="Takes the write lock of the source (BEGIN IMMEDIATE), and checks that its schema is the rehearsed one.",
        application="Reads go on. Writes wait on their busy timeout; a transaction that read first fails with"
        " SQLITE_BUSY at once. A synchronous driver serves nothing while it waits.",
        after_crash="SQLite serves: the lock ends with the process.",
        steps=(_step(Action.LOCK_SOURCE, Guard.FROZEN, Guard.FREE),),
    ),
    Phase(
        key="P5",
        name="drain",
        does="Carries over the last changes, compares the digests of the changed chunks, sets the sequences.",
        application="As in freeze.",
        after_crash="SQLite serves: the lock ends with the process.",
        steps=(_step(Action.SCAN), _step(Action.APPLY, Guard.HELD)),
    ),
    Phase(
        key="P6",
        name="fence",
        does="Sees through another process that the lock still holds, then commits triggers that refuse every write to"
        " the source, and the fence row; a fresh process must see them and be refused a write.",
        application="From the commit on every write to SQLite fails, until the application is routed. Reads go on.",
        killable=False,
        after_crash=_UNDONE,
        steps=(
            _step(Action.FENCE, Guard.FENCED),
            _step(Action.CHECK_FENCE, Guard.SEEN),
        ),
    ),
    Phase(
        key="P7",
        name="open",
        does="One Postgres transaction: the control row from CLOSED to OPEN, if the epoch is still ours, and the grant"
        " to the application's role.",
        application="As before; from the commit on its role may write to Postgres.",
        killable=False,
        commit_point=True,
        after_crash="Before the commit: as after fence. After it: Postgres serves, and `resume` routes.",
        steps=(_step(Action.OPEN, Guard.EPOCH),),
    ),
    Phase(
        key="P8",
        name="route",
        does="Leads the application to Postgres, and looks in pg_stat_activity whether it arrived.",
        application="It is restarted, or its operator restarts it; then it writes to Postgres.",
        killable=False,
        after_crash="Postgres serves. `resume` routes again; routing twice is routing once.",
    ),
    Phase(
        key="P9",
        name="observe",
        does="Compares Postgres, as it was at the opening, with the fenced file by the full round trip; takes a dump.",
        application="Nothing.",
        killable=False,
        after_crash="Postgres serves. `resume` goes on; a lost snapshot of the opening makes the proof inconclusive.",
    ),
    Phase(
        key="P10",
        name="seed",
        does="Seeds Kill Bill, where it is configured.",
        application="Nothing.",
        killable=False,
        after_crash="Postgres serves. `resume` seeds again.",
    ),
)

_FENCED_AGAIN = "Postgres is closed, the rows are not home. `resume` brings them home and drops the fence."

ROLLBACK: tuple[Phase, ...] = (
    Phase(
        key="R0",
        name="bring",
        does="Compares the tables with those of the opening, then brings changed rows into one open SQLite"
        " transaction while Postgres goes on serving.",
        application="Nothing; SQLite stays fenced.",
        after_crash="Postgres serves. Start `rollback` again.",
        steps=(
            _step(Action.CLAIM, Guard.BUMP),
            _step(Action.BEGIN_HOME, Guard.OWN, Guard.OLDER),
            _step(Action.BRING),
        ),
    ),
    Phase(
        key="R1",
        name="lock",
        does="Locks Postgres' tables against writes, and waits for the writers that are under way.",
        application="Writes to Postgres wait.",
        after_crash="Postgres serves. Start `rollback` again.",
        steps=(_step(Action.LOCK_TARGET, Guard.LOCKED, Guard.HELD),),
    ),
    Phase(
        key="R2",
        name="last-rows",
        does="Brings the rows that were written since the last pass.",
        application="As in lock.",
        after_crash="Postgres serves. Start `rollback` again.",
        steps=(_step(Action.BRING),),
    ),
    Phase(
        key="R3",
        name="close",
        does="The same Postgres transaction revokes the application's rights, sets the control row to DRAINING and"
        " commits.",
        application="From the commit on writes to Postgres fail.",
        killable=False,
        after_crash=_FENCED_AGAIN,
        steps=(_step(Action.DRAIN, Guard.HOME),),
    ),
    Phase(
        key="R4",
        name="unfence",
        does="The SQLite transaction drops the fence and commits: rows and fence in one; a fresh process must see that"
        " it is gone.",
        application="From the commit on SQLite takes writes again.",
        killable=False,
        commit_point=True,
        after_crash="Before the commit: as after close. After it: SQLite serves.",
        steps=(_step(Action.UNFENCE, Guard.OWN, Guard.OLDER), _step(Action.CHECK_HOME, Guard.ARRIVED)),
    ),
    Phase(
        key="R5",
        name="route-back",
        does="Leads the application back to SQLite and sets the control row to CLOSED. Postgres is kept.",
        application="It is restarted, or its operator restarts it; then it writes to SQLite.",
        killable=False,
        after_crash="SQLite serves. `resume` routes back and closes the control row.",
        steps=(_step(Action.CLOSE, Guard.DRAINING),),
    ),
)

UNDO: tuple[Step, ...] = (
    _step(Action.CLAIM, Guard.BUMP),
    _step(Action.UNFENCE, Guard.OWN, Guard.OLDER),
)
"""What `resume` and `abort` do between fence and opening."""

FORWARD: tuple[Step, ...] = (
    _step(Action.CLAIM, Guard.BUMP),
    _step(Action.RESTAMP, Guard.OWN, Guard.STAMPED),
    _step(Action.SCAN),
    _step(Action.APPLY, Guard.HELD),
    _step(Action.OPEN, Guard.EPOCH),
)
"""What `resume --forward` does there: it verifies (and so reads) before it opens."""

REOPEN: tuple[Step, ...] = (
    _step(Action.CLAIM, Guard.BUMP),
    _step(Action.RESTAMP, Guard.OWN, Guard.STAMPED),
    _step(Action.OPEN, Guard.EPOCH),
)
"""What `abort` does to a rollback whose rows are not home yet."""


def phase(key: str) -> Phase:
    """The phase called `key`.

    Raises:
        KeyError: no such phase.
    """
    for candidate in (*CUTOVER, *ROLLBACK):
        if candidate.key == key:
            return candidate
    raise KeyError(key)
