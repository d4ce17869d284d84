"""The page docs/cutover.md: the phases, what happens at each failure, what the tool cannot protect against."""

from __future__ import annotations

from nasmigrate.core.phases import CUTOVER, FORWARD, REOPEN, ROLLBACK, UNDO, Guard, Phase, Step
from nasmigrate.postgres.preflight import DISK_FACTOR as SERVER_FACTOR
from nasmigrate.workflows.authorities import Meaning
from nasmigrate.workflows.space import DISK_FACTOR
from nasmigrate.workflows.status import NEXT_STEP

INTRODUCTION = """# Cutover and rollback

`nasmigrate cutover` moves a live application from SQLite to Postgres, `nasmigrate rollback` takes it home again with
what it wrote since. At every instant at most one of the two engines takes writes; no write that was acknowledged to the
application is lost, and none that was refused appears. The page to follow at night is
[cutover-runbook.md](cutover-runbook.md).

Two authorities say which engine serves, and nothing else does: the **fence** in the SQLite file (a row that names the
Postgres database and an epoch, and triggers that refuse every write to every table) and the **control row** in Postgres
(`CLOSED`, `OPEN` or `DRAINING`, and the epoch). The journal in `.nasmigrate/` is an audit trail and may be lost.

The tables below are printed from `core/phases.py`, which the workflows run and on which `tests/model/` is built: a
model that takes every interleaving of two tools, two targets and two writers, with a crash or a pause after any step.
"""

CANNOT = """
## What it cannot protect against

- **A file that is replaced after the fence**: `cp backup.db app.db` brings back a file without a fence. `status` raises
  the alarm (exit 11), a rollback is refused. The same holds for a snapshot of a virtual machine or a volume.
- **A copy of the fenced file on another machine**, at the same path: it looks like the file that was cut over, and a
  rollback there would bring the rows into the copy. On the machine of the file a copy is refused, and the file itself
  is not unfenced afterwards: its fence has seen an opening (exit 11).
- **A program that switches triggers off** (`SQLITE_DBCONFIG_ENABLE_TRIGGER`, `PRAGMA writable_schema`), that drops the
  fence's triggers by name, or that runs DDL: `CREATE TABLE` and `DROP TABLE` fire no trigger. Read-only permissions on
  the file are the second line; they do not stop root, nor a connection that is open already.
- **A connection with `SQLITE_DBCONFIG_DEFENSIVE`** on a file with virtual tables takes the fence's triggers for a
  damaged schema: it can neither write nor read until it moves.
- **A superuser in Postgres** who writes with rights of his own: the switch is one membership of the application's role,
  so the preflight refuses a role that can write without it, and another role that has the membership. A rollback takes
  it from every role that has it, names those it took it from, and ends their sessions. Only operators keep it, who
  could give it to themselves (superusers, `CREATEROLE`, `ADMIN OPTION`). If `[app] role` is not the role that Postgres
  was opened for, the rollback is not begun (exit 5).
- **A target that is restored from a backup of before the opening**: its control row says `CLOSED` again. The fence
  stands for another cluster then, so nothing is unfenced without `resume --adopt`.
- **A lock that is lost during SQLite's own COMMIT**: POSIX locks belong to a process and vanish when anything in it
  closes the file. Therefore the file is frozen by a process that does nothing else, another one looks right before the
  COMMIT whether the lock is there still (a lost one does not come back; if it is lost, nothing is committed and the
  application's writes stay), and a fresh one looks afterwards whether the commit is there. What is left is the COMMIT
  itself, in which that process runs SQLite and nothing else: a lock lost there could let a write be overwritten unseen.
- **Clocks**: no decision depends on the time of day; limits are measured on a monotonic clock.
- **Power cuts on a server with `fsync = off`**: the preflight refuses it.
- **A network file system** whose locks do not hold: refused by name, and by trying a lock from a second process.
- **Both the tool and its watchdog suspended** (not killed) while the lock is held: writes wait until one of them runs
  again. Killed, both give the lock back at once.
"""

FULL = f"""
### A disk that runs full

The run's folder holds at most two copies of the source at a time; `fenced.db` and the dump stay there. The preflight
wants {DISK_FACTOR} times the size of the source free there, {SERVER_FACTOR} times where Postgres keeps its data, and
both together where that is one disk. Where a server in a container keeps its data it cannot see: add that up yourself.

What is only told or kept for later (journal, events, log, `result.json`, the watchdog's notes) is left out when it has
no room, and changes nothing else.

| it runs full | what holds then | what to do |
|--|--|--|
| before the opening | SQLite serves, everything was put back (exit 12; 9 or 11 before anything was begun) \
| make room, start `cutover` again |
| after it | Postgres serves and the application is led there; a round trip or a dump that had no room is inconclusive \
(exit 4) | make room, then `nasmigrate resume` |
| in a rollback, before R3 | Postgres serves as before (exit 12) | make room, start `rollback` again |
| between R3 and R4 | Postgres is closed, the rows are not home (exit 13) | make room, then `nasmigrate resume` |
| after R4 | SQLite serves and the application is led there | nothing |
"""

HOME = """
## How rows come home, and why none is missed

**Before the lock** (R0) the first pass compares all of Postgres with what it held at the opening: rows are counted in
every chunk of every table, and where the count is the same the digests of all columns are made. Chunks that differ are
compared with the file row by row, what differs is written, and each row that was written is read back from the file
and compared. This takes as long as Postgres needs to read itself.

**After it, and under the lock** (R2), a pass does not read what cannot have changed. Postgres never changes a row in
place: an UPDATE makes a new row version, and `xmin` names the transaction that made it. A pass notes, before it reads,
the oldest transaction that had not ended (`pg_snapshot_xmin`). Then, at the next pass:

1. A row whose version is older than that was there at the pass before, with the same values: whatever transaction
   made it had ended by then. Transactions that were under way, savepoints and prepared transactions included, have
   higher numbers, and so have all that came later.
2. Every other row, a *fresh* one, is read and compared with the file's row of its key. So every row that Postgres holds
   is accounted for.
3. What the file still has beyond these was deleted. How many rows that is follows from counting both sides
   (`deleted = rows of the file + inserted - rows of Postgres`), and in each chunk where it is not 0 the keys of both
   sides are compared, which must find exactly that many.

Under the lock are compared: the number of rows of every table, every fresh row, and all keys of the chunks that lost
rows; every row that is written is read back, and the file is counted again. Before it was compared: everything else.
SQLite's own count of changes says that no row was moved but the planned ones.

Row versions are believed only between two passes of one rollback on one running server, so never across a restart, a
restored dump or another server. The numbers are compared within a window of 2^30 transactions, in which 32 bits cannot
be mistaken; a frozen row keeps its number. And the table must be the same heap with the same attributes, all of
built-in types, as at the pass before: another table under its name, columns that changed their names, another access
method are seen. In every other case, in tables without a key that orders, with rows set aside, with values kept in
their original form where rows came and went, or of which more than a fourth is fresh, the pass compares the whole
table as the first one does.

## What a value is at home

In a column of mixed classes 5, '5' and x'35' are one value to Postgres (and under a rule '' and NULL are); what
SQLite stored is kept beside it, in `nasmigrate.originals`. On the way home:

- A column whose value in Postgres did not change is not written: SQLite keeps its class and bytes.
- A value that is new in Postgres becomes what its type says (`bytea` a BLOB, or TEXT where most of the column was
  text; `text` TEXT), also where other rows hold the same bytes as an integer. Put back to what it was at the cutover,
  in a row whose key is the same, it is the original again.
- A row without a key that was updated, or a row whose key was changed, looks in Postgres like one that was deleted
  and one that was inserted. They are taken for one row by the least that can have happened: first those that agree in
  every column beside the key; then, where all rows that went held a value in one way and no more came with it, that
  way; otherwise pairs of rows that agree in most columns. The key counts as a column, so a row that keeps its key is
  that row, unless another is closer. What a row has in common with the one that it was, it keeps as SQLite stored it.
- Where rows are equally close and SQLite held their values in several ways, it cannot be told which is which. Such a
  value cannot come home: `rollback --dry-run` and `rollback` name table, column and key and end with exit 3, and
  Postgres serves on. The same holds if one of two rows went that are equal in Postgres and not in SQLite. Change the
  value in Postgres to one that no row of the column had; then it is new.
- Text with invalid bytes that is new in a column which held none cannot come home either.

Rows of a table without a key are known by nothing but what they hold: if two rows exchange all that tells them apart,
or a row is deleted and another inserted that agrees with it in a value held in one way only, this is not seen.
"""


def cutover_page() -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION, "\n## The phases of a cutover\n", _table(CUTOVER)]
    parts += ["\n## The phases of a rollback\n", _table(ROLLBACK)]
    parts += [HOME]
    parts += ["\n## What happens at each failure\n", _failures((*CUTOVER, *ROLLBACK)), FULL]
    parts += ["\n## Where things stand, and what to do\n", _standings()]
    parts += ["\n## The guards\n", _guards(), CANNOT]
    return "".join(parts)


def _table(phases: tuple[Phase, ...]) -> str:
    lines = ["\n| | phase | what the tool does | what the application sees |\n|--|--|--|--|\n"]
    lines += [
        f"| {phase.key} | {phase.name}{' (**commit point**)' if phase.commit_point else ''} | {phase.does} |"
        f" {phase.application} |\n"
        for phase in phases
    ]
    return "".join(lines)


def _failures(phases: tuple[Phase, ...]) -> str:
    lines = [
        "\nA crash, a kill, a lost terminal or a lost connection in the phase. An error or Ctrl-C before the opening"
        " puts everything back by itself (exit 12, or 3 when a gate failed). With a rollback journal a crash may leave"
        " half of a transaction in the file; whoever opens it next rolls that back, `status` and `resume` too."
        " The maintenance page and the jobs are switched on again by the watchdog; where it died too, `status` names"
        " them and `resume` does it.\n\n",
        "| phase | what holds then | may the watchdog kill the holder of the lock |\n|--|--|--|\n",
    ]
    lines += [
        f"| {phase.key} {phase.name} | {phase.after_crash} | {'yes' if phase.killable else 'no'} |\n"
        for phase in phases
    ]
    return "".join(lines)


def _standings() -> str:
    lines = ["\n`nasmigrate status` says which of these holds.\n\n| it says | what to do |\n|--|--|\n"]
    lines += [f"| {meaning} | {NEXT_STEP[meaning]} |\n" for meaning in Meaning]
    return "".join(lines)


def _guards() -> str:
    lines = [
        "\nEach is needed: without it the model finds a way to lose a write, or to two engines that take them.\n\n",
        "| guard | taken behind it |\n|--|--|\n",
    ]
    named = [(phase.key, step) for phase in (*CUTOVER, *ROLLBACK) for step in phase.steps]
    named += [("undo", step) for step in UNDO]
    named += [("resume --forward", step) for step in FORWARD]
    named += [("abort of a rollback", step) for step in REOPEN]
    for guard in Guard:
        places = ", ".join(dict.fromkeys(f"{place} {step.action}" for place, step in named if _has(step, guard)))
        lines.append(f"| {guard.value} | {places} |\n")
    return "".join(lines)


def _has(step: Step, guard: Guard) -> bool:
    return guard in step.guards
