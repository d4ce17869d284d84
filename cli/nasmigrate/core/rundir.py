"""Run directories, `<base>/.nasmigrate/runs/<UTC time>-<command>-<4 hex>/`: where a command leaves files."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nasmigrate.core.errors import StateError, UsageProblem
from nasmigrate.core.events import EventLog, utc_now
from nasmigrate.core.owners import hint_of_owner
from nasmigrate.core.redaction import redact

if TYPE_CHECKING:
    from pydantic import BaseModel

STATE_FOLDER = ".nasmigrate"
_NAME = re.compile(r"\d{8}T\d{6}Z-[a-z][a-z0-9-]*-[0-9a-f]{4}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_ATTEMPTS = 16


class RunDirectory:
    """One run's folder (0700; its files 0600).

    Attributes:
        root: the folder itself.
        name: its name, `<UTC YYYYMMDDTHHMMSSZ>-<command>-<4 hex>`; names sort by time.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self.name = root.name
        self._events = EventLog(root / "events.jsonl", clock=clock, monotonic=monotonic)

    @classmethod
    def create(
        cls,
        base: Path,
        command: str,
        now: datetime | None = None,
        token: str | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> RunDirectory:
        """Make a new run directory below `base` and point `latest` at it.

        Raises:
            StateError: the folder cannot be made (rights, full disk), or the run named by `token` exists.
        """
        stamp = (now or clock()).strftime("%Y%m%dT%H%M%SZ")
        try:
            runs = _prepare(base)
            for _ in range(_ATTEMPTS if token is None else 1):
                root = runs / f"{stamp}-{command}-{token or secrets.token_hex(2)}"
                try:
                    root.mkdir(mode=0o700)
                except FileExistsError:
                    continue
                _point_latest(runs, root.name)
                return cls(root, clock=clock, monotonic=monotonic)
        except OSError as error:
            raise StateError(
                f"{base / STATE_FOLDER}: cannot make a run directory: {error.strerror}",
                hint=hint_of_owner(error, base / STATE_FOLDER, base / STATE_FOLDER / "runs")
                or "run in a folder you may write to, or name one with --config FOLDER/nasmigrate.toml",
                code="NM1110",
            ) from error
        raise StateError(f"{runs}: no free name for a run directory at {stamp}", code="NM1110")

    @classmethod
    def find(cls, base: Path, name: str = "latest") -> RunDirectory:
        """The run called `name` (or a unique beginning of it), or the last one.

        Raises:
            UsageProblem: no such run, or several begin like that.
        """
        runs = list_runs(base)
        if not runs:
            raise UsageProblem(f"{base / STATE_FOLDER / 'runs'}: no runs yet", hint="nasmigrate rehearse")
        if name == "latest":
            link = base / STATE_FOLDER / "runs" / "latest"
            with suppress(OSError):
                pointed = link.readlink().name
                for run in runs:
                    if run.name == pointed:
                        return run
            return runs[-1]  # no symlinks on this file system, or the run it named was pruned
        matches = [run for run in runs if run.name.startswith(name)] if name else []
        exact = [run for run in matches if run.name == name]
        if len(exact or matches) == 1:
            return (exact or matches)[0]
        if matches:
            listed = ", ".join(run.name for run in matches)
            raise UsageProblem(f"run {name}: {len(matches)} runs begin like that", hint=f"one of {listed}")
        raise UsageProblem(f"run {name}: not found", hint="nasmigrate runs list")

    def path(self, name: str) -> Path:
        """Where the file `name` of this run is or will be.

        Raises:
            ValueError: `name` is not a plain file name.
        """
        if not _FILE.fullmatch(name):
            raise ValueError(f"not a plain file name: {name!r}")
        return self.root / name

    def write_text(self, name: str, text: str) -> Path:
        """Write a file whole or not at all: temporary file, fsync, rename, fsync of the folder."""
        return write_atomic(self.path(name), text.encode("utf-8"))

    def write_json(self, name: str, document: BaseModel | Mapping[str, Any]) -> Path:
        """Write a document as indented JSON, whole or not at all."""
        if isinstance(document, Mapping):
            text = json.dumps(document, indent=2, allow_nan=False)
        else:
            text = document.model_dump_json(indent=2)
        return self.write_text(name, text + "\n")

    def event(self, kind: str, **fields: object) -> None:
        """Append one event to `events.jsonl`."""
        self._events.append(kind, fields)

    @contextmanager
    def debug_log(self, logger: logging.Logger | None = None, level: int = logging.DEBUG) -> Iterator[None]:
        """Write what `logger` (default: the package's) says to `debug.log`, redacted, during the block.

        What cannot be written, on a full disk, is lost.
        """
        logger = logger or logging.getLogger("nasmigrate")
        before = logger.level
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path("debug.log"), flags, 0o600)
        except OSError:
            yield
            return
        stream = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
        handler = _LogHandler(stream)
        handler.setFormatter(_RedactingFormatter())
        logger.addHandler(handler)
        logger.setLevel(level)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)
            handler.close()
            with suppress(OSError):
                stream.close()


def list_runs(base: Path) -> tuple[RunDirectory, ...]:
    """All run directories below `base`, oldest first."""
    runs = base / STATE_FOLDER / "runs"
    try:
        found = [entry for entry in runs.iterdir() if _NAME.fullmatch(entry.name) and not entry.is_symlink()]
    except OSError:
        return ()
    return tuple(RunDirectory(entry) for entry in sorted(found) if entry.is_dir())


def write_atomic(path: Path, data: bytes, mode: int = 0o600, *, owner: tuple[int, int] | None = None) -> Path:
    """Replace `path` by `data` so that a reader or a crash sees the old file or the new one, never a part.

    Args:
        path: the file; a link is replaced itself.
        data: what it holds then.
        mode: its permissions.
        owner: user and group to give it to; as far as we may, and the group has no rights where it is another one.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner is not None and not _given(stream.fileno(), *owner):
                mode &= ~0o070
            os.fchmod(stream.fileno(), mode)  # the umask must not change what was asked for
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return path


def _given(descriptor: int, user: int, group: int) -> bool:
    """Give a file away, or at least to the group; whether its group is that one."""
    for wanted in (user, -1):
        with suppress(OSError):
            os.fchown(descriptor, wanted, group)
            break
    return os.fstat(descriptor).st_gid == group


class _LogHandler(logging.StreamHandler[TextIO]):
    """Says nothing of a line that it could not write."""

    def handleError(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""


class _RedactingFormatter(logging.Formatter):
    """Redacts the finished line, so arguments and tracebacks are covered too."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _prepare(base: Path) -> Path:
    state = base / STATE_FOLDER
    runs = state / "runs"
    state.mkdir(mode=0o700, exist_ok=True)
    runs.mkdir(mode=0o700, exist_ok=True)
    ignore = state / ".gitignore"
    if not ignore.exists():  # snapshots must not end up in the application's repository
        write_atomic(ignore, b"*\n")
    return runs


def _point_latest(runs: Path, name: str) -> None:
    temporary = runs / f".latest.{secrets.token_hex(4)}"
    # Shares of a NAS may not know symlinks; `find` then takes the newest name.
    with suppress(OSError):
        temporary.symlink_to(name)
        temporary.replace(runs / "latest")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems refuse fsync of a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
