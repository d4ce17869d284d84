"""The folder the stack lives in: compose.yaml and what it names, ready for `docker compose` by hand as well."""

from __future__ import annotations

import os
import re
import secrets as random_secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.errors import ConfigError, RunLocked
from nasmigrate.stack.secrets import ensure_secrets

COMPOSE_FILE = "compose.yaml"
SECRETS = "secrets"
APPLICATION_FILE = "marketplace_web.env"
SECRET_BYTES = 24
_NUMBERS = re.compile(r"\d+:\d+")

_OWNED = {
    # variable of .env -> (default when it is a folder, variable of the container's user, that user, mode). DSM's engine
    # refuses absent bind sources.
    "NASMIGRATE_POSTGRES_DATA": (None, None, "999:999", 0o700),
    "NASMIGRATE_REDIS_DATA": (None, None, "999:999", 0o700),
    "NASMIGRATE_MARKETPLACE_DATA": ("./marketplace_data", "NASMIGRATE_MARKETPLACE_USER", "1000:1000", 0o750),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What `prepare` did: `written` files and folders by name, `differs` the files that are not as shipped."""

    folder: Path
    written: tuple[str, ...]
    differs: tuple[str, ...]


def shipped_folder() -> Path:
    """Where compose.yaml is shipped: in the wheel, or beside `cli/` in a checkout.

    Raises:
        ConfigError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "_compose", package.parent.parent / "compose"):
        if (candidate / COMPOSE_FILE).is_file():
            return candidate
    raise ConfigError("compose.yaml is missing from this installation", hint="install nasmigrate again", code="NM0533")


def prepare(folder: Path, variables: Mapping[str, str]) -> Prepared:
    """Make the folder complete: compose files, application settings, secrets, data folders. Repeatable.

    What is there is left as it is, edited or not.

    Args:
        folder: where to; made when absent.
        variables: .env and the environment, as compose will see them.

    Raises:
        ConfigError: something cannot be written, or a secret is not private.
    """
    shipped = shipped_folder()
    written: list[str] = []
    differs: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sorted(path for path in shipped.rglob("*") if path.is_file()):
            name = source.relative_to(shipped)
            if "node_modules" in name.parts:
                continue
            target = folder / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                if str(name) == APPLICATION_FILE:
                    target.chmod(0o600)  # what an application is told often has passwords in it
                written.append(name.parts[0])
            elif str(name) != APPLICATION_FILE and target.read_bytes() != source.read_bytes():
                differs.append(str(name))
        made = ensure_secrets(folder / SECRETS, lambda: random_secrets.token_urlsafe(SECRET_BYTES))
        written += [f"{SECRETS}/{name}" for name in made]
        written += _data_folders(folder, variables)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}", code="NM0533") from error
    return Prepared(folder=folder, written=tuple(dict.fromkeys(written)), differs=tuple(differs))


def _data_folders(folder: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Make the folders that are to be mounted, with the owner their container runs as."""
    for variable, (default, user_variable, user, mode) in _OWNED.items():
        value = variables.get(variable) or default
        if value is None or not value.startswith(("/", ".", "~")):
            continue  # a named volume: Docker makes it
        path = folder / Path(value).expanduser()
        if path.exists():
            continue
        path.mkdir(parents=True)
        path.chmod(mode)
        given = variables.get(user_variable, "") if user_variable else ""
        if os.geteuid() == 0:
            uid, _, gid = (given if _NUMBERS.fullmatch(given) else user).partition(":")
            os.chown(path, int(uid), int(gid))
        yield value


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder against another `stack` command; the kernel frees it when this process ends.

    Raises:
        RunLocked: another one is at work here.
    """
    import fcntl

    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunLocked(f"{folder}: another nasmigrate works on this stack", hint="wait for it to end") from error
        yield
    finally:
        os.close(descriptor)
