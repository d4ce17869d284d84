"""Which Postgres database is meant, read so that a password is never in argv, a message or a log."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from nasmigrate.core.errors import ConfigError

_SECRET_KEYS = ("password", "sslpassword")
_NAMING_KEYS = ("service", "host", "hostaddr", "port", "dbname", "user")
_URL_SCHEMES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Postgres database. `conninfo` may hold a password (so repr hides it); `display` never does."""

    conninfo: str = field(repr=False)
    display: str


def looks_like_target(text: str) -> bool:
    """True for what can only be a target, not a file: a URL, `env:NAME` or libpq `key=value` words."""
    return text.startswith(("env:", *_URL_SCHEMES)) or "://" in text or any(f"{k}=" in text for k in ("dbname", "host"))


def resolve_target(
    text: str,
    *,
    environ: Mapping[str, str],
    password_file: Path | None = None,
    origin: str = "argument",
    from_argv: bool = True,
    argv: Sequence[str] = (),
) -> Target:
    """The target that `text` names.

    Args:
        text: a `postgresql://` URL, a libpq `key=value` string, or `env:NAME`.
        environ: where `env:NAME` is looked up.
        password_file: a file whose first line is the password; 0600, or 0444 inside a 0700 directory.
        origin: where `text` came from, for messages ("argument", "nasmigrate.toml", "NASMIGRATE_TARGET_DSN").
        from_argv: True when `text` was on the command line, where other users of the machine can read it.
        argv: the command line, so that a refusal can show it rewritten.

    Raises:
        ConfigError: `text` cannot be read, a password is on the command line, a variable is not set, or
            `password_file` is readable by others.
    """
    where = origin
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        where, dsn = f"environment variable {name}", environ.get(name, "").strip()
        if not dsn:
            raise ConfigError(
                f"{origin}: {text}: the environment variable {name or '(no name)'} is not set or empty",
                hint=f"set it in the shell or with --env-file: {name or 'NAME'}=postgresql://user@host/dbname",
                code="NM0511",
            )
        if dsn.startswith("env:"):
            raise ConfigError(f"{where}: holds another env: reference; put the DSN itself there", code="NM0511")
    else:
        dsn = text.strip()
    parameters = _parse(dsn, where)
    secrets = [key for key in _SECRET_KEYS if parameters.get(key)]
    if secrets and from_argv and not text.startswith("env:"):
        raise ConfigError(
            f"{origin}: a password on the command line can be read by every user of this machine",
            hint=_rewritten(text, parameters, argv),
            code="NM0510",
        )
    if password_file is not None:
        if "password" in secrets:
            raise ConfigError(
                f"{where}: holds a password and a password file was given too",
                hint="keep one of the two",
                code="NM0512",
            )
        parameters["password"] = read_password(password_file)
    return Target(conninfo=_conninfo(parameters), display=_display(parameters))


def require_private(path: Path, what: str) -> None:
    """Refuse a file with a secret that others can read.

    Accepted: no rights for group and others (0600, 0400), or read rights for them inside a folder that only
    its owner may enter (0444 in 0700, for files mounted into containers that do not run as root).

    Raises:
        ConfigError: the file is missing, not a regular file, or open to others.
    """
    try:
        status = path.stat()
        folder = path.resolve().parent.stat()
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}", code="NM0513") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{what} {path}: not a regular file", code="NM0513")
    mode, folder_mode = stat.S_IMODE(status.st_mode), stat.S_IMODE(folder.st_mode)
    if mode & 0o077 == 0 or (mode & 0o033 == 0 and folder_mode & 0o077 == 0):
        return
    raise ConfigError(
        f"{what} {path}: mode {mode:04o} lets other users read it",
        hint=f"chmod 600 {shlex.quote(str(path))}",
        code="NM0513",
    )


def read_password(path: Path) -> str:
    """The password in `path`: its only line, without the line end.

    Raises:
        ConfigError: open to others, empty, of several lines, or not UTF-8.
    """
    require_private(path, "password file")
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"password file {path}: cannot be read as UTF-8 text", code="NM0513") from error
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or "\n" in password or "\0" in password:
        raise ConfigError(f"password file {path}: must hold the password alone, on one line", code="NM0513")
    return password


def _parse(dsn: str, where: str) -> dict[str, str]:
    """What libpq reads in `dsn`. Its messages are not passed on: they quote the part with the password."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if dsn.startswith(("postgresql+", "postgres+")):
        raise ConfigError(
            f"{where}: a driver name in the URL (postgresql+…://) belongs to SQLAlchemy",
            hint="write postgresql://…",
            code="NM0514",
        )
    try:
        parameters = conninfo_to_dict(dsn) if dsn else {}
    except psycopg.Error:
        parameters = {}
    if not parameters:
        url = dsn.startswith(_URL_SCHEMES)
        raise ConfigError(
            f"{where}: not a PostgreSQL connection string",
            hint="in a URL, @ : / ? # % of a user or password are written %40 %3A %2F %3F %23 %25"
            if url
            else "write postgresql://user@host:5432/dbname, 'host=… dbname=…', or env:NAME",
            code="NM0514",
        )
    return {key: str(value) for key, value in parameters.items() if value is not None}


def _conninfo(parameters: Mapping[str, str]) -> str:
    from psycopg.conninfo import make_conninfo

    return make_conninfo("", **cast("dict[str, None]", dict(parameters)))


def _display(parameters: Mapping[str, str]) -> str:
    """A short name without secrets: a URL for one TCP host, else the libpq words that say which database."""
    public = {key: parameters[key] for key in _NAMING_KEYS if parameters.get(key)}
    host = public.get("host", "")
    if not host or host.startswith(("/", "@")) or "," in host or "dbname" not in public:
        return _conninfo(public) or "libpq defaults"
    user = f"{public['user']}@" if "user" in public else ""
    port = f":{public['port']}" if "port" in public else ""
    name = f"[{host}]" if ":" in host else host
    return f"postgresql://{user}{name}{port}/{public['dbname']}"


def _without_secrets(text: str, parameters: Mapping[str, str]) -> str:
    """`text` in its own form (URL stays URL) with the secret taken out."""
    public = {key: value for key, value in parameters.items() if key not in _SECRET_KEYS}
    if not text.strip().startswith(_URL_SCHEMES):
        return _conninfo(public)
    from urllib.parse import quote, urlencode

    def part(key: str) -> str:
        return quote(public.pop(key, ""), safe="")

    user, hosts, ports, name = part("user"), public.pop("host", ""), public.pop("port", ""), part("dbname")
    if "," in hosts or hosts.startswith("/"):
        public |= {"host": hosts, "port": ports} if ports else {"host": hosts}
        hosts = ports = ""
    host = f"[{hosts}]" if ":" in hosts else quote(hosts, safe=".-_")
    url = f"postgresql://{user + '@' if user else ''}{host}{':' + ports if ports else ''}/{name}"
    return f"{url}?{urlencode(public)}" if public else url


def _rewritten(text: str, parameters: Mapping[str, str], argv: Sequence[str]) -> str:
    """The refused line, three times without its password: a file for libpq, a variable, a password file."""
    public = _without_secrets(text, parameters)
    words = list(argv) if any(text in word for word in argv) else ["nasmigrate", "…", "--target", text]

    def line(replacement: str) -> str:
        return " ".join(_quoted(word.replace(text, replacement)) for word in words)

    entry = ":".join(
        parameters.get(key, "*").replace("\\", "\\\\").replace(":", "\\:") for key in ("host", "port", "dbname", "user")
    )
    passfile = "~/.pgpass"
    return (
        "keep the password out of the line, one of:\n"
        f"  PGPASSFILE={passfile} {line(public)}\n"
        f"    ({passfile}, mode 0600, holds the line {entry}:PASSWORD)\n"
        f"  {line('env:TARGET_DSN')}\n"
        "    (the whole DSN in the environment variable TARGET_DSN)\n"
        f"  {line(public)} --password-file FILE\n"
        "    (FILE, mode 0600, holds the password alone)"
    )


def _quoted(word: str) -> str:
    return word if word == "…" else shlex.quote(word)
