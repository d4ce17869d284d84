"""A password must not be taken from, or shown on, a command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from nasmigrate.core.errors import ConfigError, ExitCode
from nasmigrate.core.target import looks_like_target, read_password, require_private, resolve_target

SECRET = "s3cr3t"


def secret_file(folder: Path, text: str = SECRET + "\n", mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_display_names_the_database_and_nothing_else() -> None:
    text = "host=/run/postgresql dbname=m user=a hostaddr='' gssencmode=disable options='-c x=1'"
    assert sorted(resolve_target(text, environ={}).display.split()) == ["dbname=m", "host=/run/postgresql", "user=a"]


@pytest.mark.parametrize(
    ("text", "display"),
    [
        ("postgresql://app@db:5433/market?sslmode=require", "postgresql://app@db:5433/market"),
        ("postgres://db/market", "postgresql://db/market"),
        ("postgresql://app@[::1]:5432/market", "postgresql://app@[::1]:5432/market"),
        ("host=db dbname=market user=app", "postgresql://app@db/market"),
        ("host=/run/postgresql dbname=market", "dbname=market host=/run/postgresql"),
        ("host=a,b dbname=market", "dbname=market host=a,b"),
        ("service=market", "service=market"),
    ],
)
def test_urls_and_keywords_are_read(text: str, display: str) -> None:
    target = resolve_target(text, environ={})
    assert sorted(target.display.split()) == sorted(display.split())
    assert conninfo_to_dict(target.conninfo) == conninfo_to_dict(text)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://app:{SECRET}@db/market",
        f"postgresql://db/market?password={SECRET}&user=app",
        f"host=db user=app dbname=market password='{SECRET}'",
        f"host=db user=app dbname=market sslpassword={SECRET}",
    ],
)
def test_a_password_in_argv_is_refused_with_the_same_line_rewritten(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_target(text, environ={}, argv=["nasmigrate", "copy", "my app.db", text])
    error = caught.value
    assert error.exit_code == ExitCode.CONFIG
    assert error.hint is not None
    assert SECRET not in error.message + error.hint + repr(error.details)
    lines = error.hint.split("\n")
    assert any(line.strip().startswith("PGPASSFILE=~/.pgpass nasmigrate copy 'my app.db' ") for line in lines)
    assert "  nasmigrate copy 'my app.db' env:TARGET_DSN" in lines
    assert any(line.endswith("--password-file FILE") for line in lines)


def test_the_rewritten_url_means_the_same_database() -> None:
    text = f"postgresql://a%40b:{SECRET}@db:5433/my%2Fmarket?sslmode=require"
    with pytest.raises(ConfigError) as caught:
        resolve_target(text, environ={}, argv=["nasmigrate", "rehearse", "--target", text])
    hint = caught.value.hint or ""
    rewritten = hint.split("--target ")[1].split("\n")[0].strip("'")
    original = conninfo_to_dict(text)
    del original["password"]
    assert conninfo_to_dict(rewritten) == original


def test_env_reference_may_hold_a_password_and_never_shows_it() -> None:
    target = resolve_target("env:DSN", environ={"DSN": f"postgresql://app:{SECRET}@db/market"})
    assert conninfo_to_dict(target.conninfo)["password"] == SECRET
    assert SECRET not in target.display + repr(target)


@pytest.mark.parametrize("environ", [{}, {"DSN": "  "}, {"DSN": "env:OTHER"}])
def test_an_env_reference_to_nothing_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="DSN"):
        resolve_target("env:DSN", environ=environ)


def test_settings_may_hold_a_password() -> None:
    target = resolve_target(f"postgresql://a:{SECRET}@db/m", environ={}, origin="nasmigrate.toml", from_argv=False)
    assert conninfo_to_dict(target.conninfo)["password"] == SECRET


@pytest.mark.parametrize("text", ["", "app.db", f"postgresql://app:{SECRET}%zz@db/m", f"{SECRET} x", "mysql://a@b/c"])
def test_what_is_no_dsn_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ConfigError, match="not a PostgreSQL connection string") as caught:
        resolve_target(text, environ={})
    assert SECRET not in str(caught.value) + (caught.value.hint or "")


def test_a_driver_in_the_url_is_named() -> None:
    with pytest.raises(ConfigError, match="SQLAlchemy"):
        resolve_target("postgresql+psycopg://app@db/m", environ={})


def test_a_password_file_is_used(tmp_path: Path) -> None:
    target = resolve_target("postgresql://app@db/m", environ={}, password_file=secret_file(tmp_path, SECRET + "\r\n"))
    assert conninfo_to_dict(target.conninfo)["password"] == SECRET
    assert SECRET not in target.display


def test_two_passwords_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="password file was given too"):
        resolve_target("env:D", environ={"D": f"host=x password={SECRET}"}, password_file=secret_file(tmp_path))


@pytest.mark.parametrize(
    ("mode", "folder_mode", "accepted"),
    [
        (0o600, 0o755, True),
        (0o400, 0o755, True),
        (0o444, 0o700, True),
        (0o440, 0o700, True),
        (0o444, 0o755, False),
        (0o444, 0o710, False),
        (0o640, 0o755, False),
        (0o666, 0o700, False),
        (0o604, 0o755, False),
    ],
)
def test_who_may_read_a_file_with_a_secret(tmp_path: Path, mode: int, folder_mode: int, accepted: bool) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    path = secret_file(folder, mode=mode)
    folder.chmod(folder_mode)
    if accepted:
        require_private(path, "password file")
        assert read_password(path) == SECRET
    else:
        with pytest.raises(ConfigError, match=f"mode {mode:04o}"):
            require_private(path, "password file")


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "a\0b"])
def test_a_password_file_holds_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="password alone"):
        read_password(secret_file(tmp_path, text))


def test_a_missing_password_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_password(tmp_path / "none")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_password(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("env:DSN", True),
        ("postgresql://h/d", True),
        ("host=x dbname=y", True),
        ("data/app.db", False),
        ("a=b.db", False),
    ],
)
def test_a_target_is_told_from_a_file(text: str, expected: bool) -> None:
    assert looks_like_target(text) is expected
