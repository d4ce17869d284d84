"""A setting must come from where the reader thinks it does, and a typo must not pass as a default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from nasmigrate.core.config import (
    AVAILABLE_RULES,
    FOLD_NAMES,
    RULES,
    Config,
    append_accepts,
    config_schema,
    load_config,
    setting_keys,
    settings,
    variable_name,
)
from nasmigrate.core.config_edit import fill_in
from nasmigrate.core.errors import ConfigError, ExitCode

FULL = """
[source]
path = "data/app.db"
busy_timeout = 2
deadline = 30
[target]
dsn = "env:DSN"
password_file = "secret"
[migrations]
directory = "alembic"
[plan]
only_tables = ["orders", "users"]
exclude_tables = "users"
accept = ["TEXT_IN_INTEGER:orders.total", "VIEW_NOT_CARRIED:top sellers"]
[columns."orders.total"]
type = "text"
[names]
rule = "fold-names"
tables = {"Order" = "orders"}
columns = {"Order.qty." = "quantity"}
[transfer]
engine = "native"
chunk_rows = 1000
chunk_bytes = "4 MiB"
workers = 4
verify_connections = 3
[rehearse]
round_trip = false
cutover = false
[backup]
directory = "/volume1/backups"
databases = ["shop", "killbill"]
keep = 7
tools = "/usr/lib/postgresql/17/bin"
[killbill]
url = "https://billing.example.org"
user = "root"
password_file = "secrets/admin"
api_key = "shop"
api_secret_file = "secrets/tenant"
query = "SELECT id AS external_key FROM people"
currency = "EUR"
time_zone = "Europe/Berlin"
locale = "de_DE"
auto_invoicing_off = false
workers = 2
timeout = 10
[app]
role = "shop_app"
needs_ddl = true
busy_timeout = 2
route = "command"
env_file = ".env"
env = ["DATABASE_URL=env:APP_DSN"]
start = "systemctl start shop"
stop = "systemctl stop shop"
compose_file = "compose.yaml"
compose_project = "shop"
compose_service = "web"
health_url = "http://127.0.0.1:3101/health"
maintenance_on = "touch maintenance"
maintenance_off = "rm maintenance"
cron_pause = "crontab -r"
cron_resume = "crontab saved"
command_timeout = 5
arrival_timeout = 5
[cutover]
max_freeze = 1.5
freeze_wait = 3
passes = 4
lock_wait = 3
max_lock = 3
dump = false
seed = true
before_freeze = "true"
after_open = "true"
after_route = "true"
after_rollback = "true"
hook_timeout = 5
[stack]
directory = "containers"
project = "shop"
services = ["postgres", "redis"]
timeout = 60
"""


def write(folder: Path, text: str, mode: int = 0o644) -> Path:
    file = folder / "nasmigrate.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def problem(folder: Path, text: str) -> ConfigError:
    write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(folder, environ={})
    assert caught.value.exit_code == ExitCode.CONFIG
    return caught.value


def test_a_full_file_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, FULL)
    loaded = load_config(tmp_path, environ={})
    config = loaded.config
    assert loaded.file == file
    assert loaded.base == tmp_path
    assert config.source.path == "data/app.db"
    assert config.source.busy_timeout == 2.0
    assert config.source.deadline == 30.0
    assert config.plan.accept == ("TEXT_IN_INTEGER:orders.total", "VIEW_NOT_CARRIED:top sellers")
    assert config.columns["orders.total"].type == "text"
    assert config.names.tables == {"Order": "orders"}
    assert ('names.columns."Order.qty."', "quantity") in settings(config)
    assert config.transfer.chunk_bytes == 4 * 1024**2
    assert config.rehearse.round_trip is False
    assert (config.killbill.workers, config.killbill.timeout) == (2, 10.0)
    assert config.app.env == ("DATABASE_URL=env:APP_DSN",)
    assert (config.cutover.max_freeze, config.cutover.passes) == (1.5, 4)
    assert config.stack.services == ("postgres", "redis")
    assert set(loaded.origins.values()) == {"nasmigrate.toml"}
    assert loaded.resolve("data/app.db") == tmp_path / "data" / "app.db"
    assert loaded.resolve("/data/app.db") == Path("/data/app.db")


def test_defaults_without_a_file(tmp_path: Path) -> None:
    loaded = load_config(tmp_path, environ={})
    assert loaded.file is None
    assert loaded.config == Config()
    assert loaded.config.transfer.chunk_rows == 50_000
    assert loaded.config.transfer.chunk_bytes == 16 * 1024**2
    assert set(loaded.origins) == set(setting_keys())
    assert set(loaded.origins.values()) == {"default"}


def test_flag_beats_variable_beats_env_file_beats_toml_beats_default(tmp_path: Path) -> None:
    write(tmp_path, "[transfer]\nchunk_rows = 1\nchunk_bytes = 100000\nverify_connections = 4\n[source]\npath='toml'\n")
    env_file = tmp_path / "env"
    env_file.write_text(
        "NASMIGRATE_TRANSFER_CHUNK_ROWS=2\nNASMIGRATE_TRANSFER_CHUNK_BYTES=1MiB\nNASMIGRATE_TRANSFER_VERIFY_CONNECTIONS=5\n"
    )
    loaded = load_config(
        tmp_path,
        environ={"NASMIGRATE_TRANSFER_CHUNK_ROWS": "3", "NASMIGRATE_TRANSFER_CHUNK_BYTES": "2 MiB"},
        env_file=env_file,
        flags={"transfer.chunk_rows": 9, "transfer.chunk_bytes": None},
    )
    transfer = loaded.config.transfer
    assert (transfer.chunk_rows, transfer.chunk_bytes, transfer.verify_connections) == (9, 2 * 1024**2, 5)
    assert {key: loaded.origins[key] for key in ("transfer.chunk_rows", "transfer.chunk_bytes")} == {
        "transfer.chunk_rows": "flag",
        "transfer.chunk_bytes": "NASMIGRATE_TRANSFER_CHUNK_BYTES",
    }
    assert loaded.origins["transfer.verify_connections"] == f"env-file {env_file}"
    assert loaded.origins["source.path"] == "nasmigrate.toml"
    assert loaded.origins["rehearse.round_trip"] == "default"


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("[source]\npth = 'a'\n", "source.pth", "source.path"),
        ("[sorce]\npath = 'a'\n", "sorce", "source"),
        ("chunk_rows = 5\n", "chunk_rows", "[transfer]"),
        ("[columns.orders.total]\ntype = 'text'\n", "columns.orders.total", '[columns."orders.total"]'),
        ("[columns.'orders.total']\nrules = 'bool-words'\n", 'columns."orders.total".rules', "rule"),
        ("[transfer]\nchunkrows = 5\n", "transfer.chunkrows", "transfer.chunk_rows"),
    ],
)
def test_an_unknown_key_is_named_with_the_closest(tmp_path: Path, text: str, key: str, hint: str) -> None:
    error = problem(tmp_path, text)
    assert f"unknown key {key}" in error.message
    assert str(tmp_path / "nasmigrate.toml") in error.message
    assert hint in (error.hint or "")


def test_the_line_is_named_and_every_problem_is_listed(tmp_path: Path) -> None:
    error = problem(tmp_path, "[plan]\naccept = []\n\n[source]\npth = 'a'\n[transfer]\nchunk_rows = '5'\n")
    assert "nasmigrate.toml:5: unknown key source.pth" in error.message
    assert "nasmigrate.toml:7: transfer.chunk_rows" in (error.hint or "")


def test_each_hint_stands_by_the_key_it_belongs_to(tmp_path: Path) -> None:
    error = problem(tmp_path, "[app]\nroute = 'by hand'\nbusy_timout = 5\ncron_pase = 'a'\n")
    assert "app.route" in error.message
    also = (error.hint or "").split("\n")
    assert [line.split(": ", 2)[2] for line in also] == [
        "unknown key app.busy_timout (did you mean app.busy_timeout?)",
        "unknown key app.cron_pase (did you mean app.cron_pause?)",
    ]


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("[plan]\naccept = []\n[plan]\naccept = ['A:b']\n", "leave this second header out"),
        ("[plan]\naccept = []\naccept = ['A:b']\n", "keep one of the two"),
    ],
)
def test_lines_pasted_a_second_time_are_answered_with_what_to_do(tmp_path: Path, text: str, way_out: str) -> None:
    error = problem(tmp_path, text)
    assert "line" in error.message
    assert way_out in (error.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "[transfer]\nchunk_rows = 0\n",
        "[transfer]\nchunk_rows = true\n",
        "[transfer]\nchunk_rows = 1.5\n",
        "[transfer]\nchunk_bytes = '16 pigs'\n",
        "[transfer]\nchunk_bytes = 10\n",
        "[rehearse]\nround_trip = 1\n",
        "[source]\npath = ''\n",
        "[source]\npath = 5\n",
        "[source]\nbusy_timeout = -1\n",
        "[plan]\naccept = ['no code']\n",
        "[plan]\naccept = [5]\n",
        "source = 5\n",
        "[columns.total]\ntype = 'text'\n",
        "[source\n",
        "a = 1\na = 2\n",
    ],
)
def test_a_wrong_value_is_refused(tmp_path: Path, text: str) -> None:
    error = problem(tmp_path, text)
    assert "nasmigrate.toml" in error.message


def test_a_rule_must_be_known_and_for_columns(tmp_path: Path) -> None:
    error = problem(tmp_path, "[columns.'t.c']\nrule = 'epoch-sec'\n")
    assert "not a rule" in error.message
    assert "epoch-s" in (error.hint or "")
    assert "for all names at once" in problem(tmp_path, f"[columns.'t.c']\nrule = '{FOLD_NAMES}'\n").message
    assert {FOLD_NAMES, *AVAILABLE_RULES} == set(RULES)


def test_bytes_that_are_no_text_and_a_missing_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "nasmigrate.toml").write_bytes(b"[source]\npath = '\xff'\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path, environ={})
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "other.toml", environ={})


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("NASMIGRATE_SOURCE_PTH", "x", "NASMIGRATE_SOURCE_PTH: no such setting"),
        ("NASMIGRATE_TRANSFER_CHUNK_ROWS", "many", "not a number"),
        ("NASMIGRATE_TRANSFER_CHUNK_ROWS", "0", "NASMIGRATE_TRANSFER_CHUNK_ROWS"),
        ("NASMIGRATE_REHEARSE_ROUND_TRIP", "maybe", "neither true nor false"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(tmp_path: Path, name: str, value: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load_config(tmp_path, environ={name: value})


def test_variables_of_each_type_are_read(tmp_path: Path) -> None:
    environ = {
        "NASMIGRATE_PLAN_ACCEPT": "A_B:t.c, C:d",
        "NASMIGRATE_REHEARSE_ROUND_TRIP": "off",
        "NASMIGRATE_SOURCE_BUSY_TIMEOUT": "1.5",
        "NASMIGRATE_SOURCE_PATH": "x.db",
        "NASMIGRATE": "not ours",
        "NASMIGRATE_SOMETHING": "not ours either",
        "NASMIGRATE_KILLBILL_IMAGE": "compose's, though there is a section of that name",
    }
    config = load_config(tmp_path, environ=environ).config
    assert config.plan.accept == ("A_B:t.c", "C:d")
    assert config.rehearse.round_trip is False
    assert config.source.busy_timeout == 1.5
    assert variable_name("source.path") == "NASMIGRATE_SOURCE_PATH"


def test_env_file_syntax(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        '# comment\n\nexport A=1\nB = two words # comment\nC=\'single # $x\'\nD="a\\n\\"b\\"" # c\nE=\nF=x#y\nA=2\n'
    )
    environ = load_config(tmp_path, environ={"B": "mine"}, env_file=env_file).environ
    assert environ == {"A": "2", "B": "mine", "C": "single # $x", "D": 'a\n"b"', "E": "", "F": "x#y"}


@pytest.mark.parametrize("line", ["just words", "1A=x", "A='open", 'A="open', "=x", "A='x' y"])
def test_a_bad_env_file_line_is_named_but_not_shown(tmp_path: Path, line: str) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"OK=1\n{line}\n")
    with pytest.raises(ConfigError, match=r"\.env:2: not a KEY=VALUE line") as caught:
        load_config(tmp_path, environ={}, env_file=env_file)
    assert "open" not in str(caught.value).replace(str(tmp_path), "")


def test_files_with_a_password_must_be_private(tmp_path: Path) -> None:
    text = "[target]\ndsn = 'postgresql://a:s3cr3t@db/m'\n"
    write(tmp_path, text, 0o644)
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="mode 0644") as caught:
        load_config(tmp_path, environ={})
    assert "chmod 600" in (caught.value.hint or "")
    write(tmp_path, text, 0o600)
    assert load_config(tmp_path, environ={}).config.target.dsn == "postgresql://a:s3cr3t@db/m"
    env_file = tmp_path / ".env"
    env_file.write_text("PGPASSWORD=s3cr3t\n")
    env_file.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644"):
        load_config(tmp_path, environ={}, env_file=env_file)


def test_the_environment_is_not_shown_by_repr(tmp_path: Path) -> None:
    assert "s3cr3t" not in repr(load_config(tmp_path, environ={"X": "s3cr3t"}))


def test_accepts_are_added_and_comments_kept(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "# top\n[plan]\n# mine\naccept = [\n    'A:t.a', # because\n]\n[source]\npath = 'x' # the file\n",
        0o640,
    )
    assert append_accepts(file, ["A:t.a", "B:t.b", 'C:we"ird', "B:t.b"]) == ("B:t.b", 'C:we"ird')
    text = file.read_text()
    assert tomllib.loads(text)["plan"]["accept"] == ["A:t.a", "B:t.b", 'C:we"ird']
    for comment in ("# top", "# mine", "# because", "# the file"):
        assert comment in text
    assert file.stat().st_mode & 0o777 == 0o640
    assert append_accepts(file, ["B:t.b"]) == ()
    assert file.read_text() == text


@pytest.mark.parametrize(
    "text",
    ["", "[source]\npath = 'x'\n", "[plan]\n", "[plan]\naccept = []\n", "[plan]\naccept = 'Z:z'\n", "plan = {}\n"],
)
def test_accepts_find_their_place_in_any_file(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    before = tomllib.loads(text)
    accepts = before.get("plan", {}).get("accept", [])
    expected = ([accepts] if isinstance(accepts, str) else accepts) + ["A:t.a"]
    try:
        append_accepts(file, ["A:t.a"])
    except ConfigError as error:
        assert "[plan]" in str(error)
        assert file.read_text() == text
        return
    after = tomllib.loads(file.read_text())
    assert after["plan"]["accept"] == expected
    assert after.get("source") == before.get("source")


def test_accepts_make_a_missing_file_private(tmp_path: Path) -> None:
    file = tmp_path / "nasmigrate.toml"
    append_accepts(file, ["A:t.a"])
    assert load_config(tmp_path, environ={}).config.plan.accept == ("A:t.a",)
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_schema_knows_what_the_reader_knows(tmp_path: Path) -> None:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert not list(validator.iter_errors({"source": {"path": "a"}, "plan": {"accept": ["A:b"]}}))
    assert list(validator.iter_errors({"source": {"pth": "a"}}))
    # What people write and the reader takes must not be underlined by an editor.
    assert not list(validator.iter_errors(tomllib.loads(FULL)))
    rule = {"columns": {"t.c": {"rule": "bool-words"}}}
    assert not list(validator.iter_errors(rule))


def test_settings_lists_every_key_once(tmp_path: Path) -> None:
    write(tmp_path, FULL)
    rows = dict(settings(load_config(tmp_path, environ={}).config))
    assert set(setting_keys()) <= set(rows)
    assert rows['columns."orders.total".type'] == "text"


def test_fill_in_writes_only_what_is_not_there(tmp_path: Path) -> None:
    file = write(tmp_path, "# mine\n[target]\n# dsn below\ndsn = 'env:DSN'\n", 0o600)
    assert fill_in(file, {"target.dsn": "other", "target.password_file": "p", "source.path": "a.db"}) == (
        "target.password_file",
        "source.path",
    )
    loaded = load_config(tmp_path, environ={})
    assert (loaded.config.target.dsn, loaded.config.source.path) == ("env:DSN", "a.db")
    assert "# dsn below" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_service_that_there_is_not(tmp_path: Path) -> None:
    assert "services" in problem(tmp_path, "[stack]\nservices = ['mysql']\n").message


def test_every_variable_of_compose_may_be_in_the_environment(tmp_path: Path) -> None:
    """`stack up` lets the environment win over .env; a setting of that name must not be missed."""
    compose = (Path(__file__).parents[2] / "compose" / "compose.yaml").read_text()
    names = set(re.findall(r"\$\{(NASMIGRATE_\w+)", compose))
    assert len(names) > 15
    assert not names & {variable_name(key) for key in setting_keys()}
    load_config(tmp_path, environ=dict.fromkeys(names, "1"))
