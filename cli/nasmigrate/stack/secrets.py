"""The stack's secrets: one file each, in a folder that only its owner may enter.

The files are readable by all (0444), the folder is not (0700): containers that do not run as root read what is mounted
into them, nobody else gets that far. Compose ignores uid, gid and mode of file secrets, so there is no other way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from nasmigrate.core.errors import ConfigError

NAMES = (
    "postgres_password",
    "killbill_database_password",
    "killbill_admin_password",
    "marketplace_app_password",
    "redis_password",
)
"""Made by `stack up`. `tunnel_token` is Cloudflare's to give, and put there by the operator."""

FOLDER_MODE = 0o700
FILE_MODE = 0o444
LONGEST = 4096
DSM_FOLDERS = ("@eaDir", "#recycle")
"""What DSM puts into every folder that it indexes, or keeps a bin for."""


def ensure_secrets(folder: Path, make: Callable[[], str]) -> tuple[str, ...]:
    """Make the folder and the files that are absent; returns the names of those it made.

    A file that is there is never changed: a volume was made with it.

    Args:
        folder: the secrets' folder; its parent exists.
        make: gives a new secret, of characters that need no quoting anywhere.

    Raises:
        ConfigError: something there is not a private folder or not a plain file with one line.
    """
    if not folder.is_dir():
        folder.mkdir(mode=FOLDER_MODE)
    problems = secret_problems(folder)
    if problems:
        raise ConfigError("; ".join(problems), hint=private_again(folder), code="NM0531")
    made = [name for name in NAMES if not (folder / name).exists()]
    for name in made:
        _write(folder / name, make())
    return tuple(made)


def read_secret(folder: Path, name: str) -> str:
    """The secret, without the newline an editor may have left.

    Raises:
        ConfigError: the file is absent, empty, or has several lines.
    """
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8") as stream:
            text = stream.read(LONGEST)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}", hint="nasmigrate stack up", code="NM0532") from error
    secret = text.removesuffix("\n")
    if not secret or "\n" in secret:
        raise ConfigError(f"{path}: must hold one line, the secret alone", code="NM0532")
    return secret


def secret_problems(folder: Path) -> tuple[str, ...]:
    """Why the folder is not private, one sentence each; none when all is well. Nothing is read from the files."""
    try:
        facts = folder.lstat()
    except OSError as error:
        return (f"{folder}: {error.strerror}",)
    if not stat.S_ISDIR(facts.st_mode):
        return (f"{folder}: not a folder",)
    problems = []
    if stat.S_IMODE(facts.st_mode) & 0o077:
        problems.append(f"{folder}: mode {stat.S_IMODE(facts.st_mode):04o}, others may enter")
    for path in secret_files(folder):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            problems.append(f"{path}: not a plain file")
        elif stat.S_IMODE(mode) & 0o022:
            problems.append(f"{path}: mode {stat.S_IMODE(mode):04o}, others may write it")
    return tuple(problems)


def secret_files(folder: Path) -> list[Path]:
    """What lies in the folder, by name, without `DSM_FOLDERS`."""
    return sorted(path for path in folder.iterdir() if path.name not in DSM_FOLDERS)


def private_again(folder: Path) -> str:
    """The commands that make the folder and its files private again; other folders in it are left as they are."""
    return f"chmod 700 {folder}; find {folder} -maxdepth 1 -type f -exec chmod 444 {{}} +"


def _write(path: Path, secret: str) -> None:
    """Whole or not at all: a half-written password would go into a volume for good."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(secret)  # no newline: POSTGRES_PASSWORD_FILE is read by a shell, others take the bytes
        os.fchmod(stream.fileno(), FILE_MODE)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
