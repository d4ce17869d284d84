"""While the source is locked, the process that holds the lock opens and closes it by nothing else.

POSIX locks belong to a process and vanish when anything in it closes the file (https://sqlite.org/howtocorrupt.html).
strace tells every open and close of the file and of its log, and every lock that is taken or given back.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest
from support.census import traced
from support.night import Night

CALLS = "openat,open,creat,close,close_range,fcntl,clone,clone3,fork,vfork,execve"
_CALL = re.compile(r"(?P<task>\d+) +(?P<call>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<task>\d+) +<\.\.\. (?P<call>clone3?) resumed>.* = (?P<child>\d+)$")
_WRITE_LOCK = {"app.db-shm": "l_start=120, l_len=1", "app.db": "l_start=1073741825, l_len=1"}


def held_while(log: Path, source: Path) -> dict[int, list[str]]:
    """What each process that held the write lock did to the source's files meanwhile, opens and closes alone."""
    process_of: dict[int, int] = {}
    holding: set[int] = set()
    did: dict[int, list[str]] = defaultdict(list)
    threads: dict[int, bool] = {}
    for line in log.read_text(errors="replace").splitlines():
        if resumed := _RESUMED.match(line):
            task = int(resumed["task"])
            if threads.get(task):
                process_of[int(resumed["child"])] = process_of.get(task, task)
            continue
        match = _CALL.match(line)
        if match is None:
            continue
        task, rest = int(match["task"]), match["rest"]
        process = process_of.get(task, task)
        if match["call"] in ("clone", "clone3"):
            threads[task] = "CLONE_THREAD" in rest
            child = re.search(r" = (\d+)$", rest)
            if child and threads[task]:
                process_of[int(child[1])] = process
        elif match["call"] == "fcntl":
            for name, place in _WRITE_LOCK.items():
                if f"{source.with_name(name)}>" in rest and place in rest and "F_SETLK" in rest and " = 0" in rest:
                    if "F_WRLCK" in rest:
                        holding.add(process)
                        did[process].append("locked")
                    elif "F_UNLCK" in rest:
                        holding.discard(process)
        elif process in holding and str(source) in rest:
            did[process].append(line)
    return did


@pytest.mark.parametrize("command", ["cutover", "rollback"])
def test_nothing_else_opens_or_closes_the_locked_source(command: str, night: Night) -> None:
    night.stop_writers()
    if command == "rollback":
        assert night.run("cutover").returncode in (0, 4)
    log = night.folder / "opens.log"
    code = traced(night, command, ["-y", "-e", f"trace={CALLS}"], log)
    assert code in (0, 4), (night.folder / "driver.log").read_text()
    did = held_while(log, night.source)
    assert any("locked" in lines for lines in did.values()), "nobody was seen to lock the source"
    # Nobody's locks are on the journal or the log; the one is made, the other put on the disk, for the commit.
    unlocked = ("locked", "app.db-journal", "app.db-wal")
    others = {
        process: [line for line in lines if not any(word in line for word in unlocked)]
        for process, lines in did.items()
    }
    assert not any(others.values()), others


def test_a_close_in_the_process_that_holds_the_lock_is_seen(tmp_path: Path) -> None:
    """By itself, or in one of its threads; another process may, and so may it once the lock is given back."""
    source, log = tmp_path / "app.db", tmp_path / "trace.log"
    where = f"F_SETLK, {{l_type=%s, l_whence=SEEK_SET, l_start=120, l_len=1}}) = 0\n10 close(7<{source}>) = 0\n"
    begins = (
        "10 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88 <unfinished ...>\n"
        "10 <... clone3 resumed> => {parent_tid=[11]}, 88) = 11\n"
        "10 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 12\n"
    )
    shared = f"10 fcntl(5<{source}-shm>, "
    log.write_text(
        begins + shared + where % "F_WRLCK" + f'11 openat(AT_FDCWD, "{source}", O_RDONLY) = 8<{source}>\n'
        f"12 close(9<{source}>) = 0\n" + shared + where % "F_UNLCK"
    )
    did = held_while(log, source)
    assert list(did) == [10]
    assert [line.split("(")[0] for line in did[10]] == ["locked", "10 close", "11 openat"]
