"""What `doctor` says of the application, days before the night that needs it."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from nasmigrate.commands import main
from nasmigrate.workflows import doctor as doctor_workflow

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_workflow, "_embedded", lambda: [])  # its programs are not what is asked here


def application_checks(capsys: pytest.CaptureFixture[str], *, exit_code: int) -> list[dict[str, str]]:
    """What doctor says of the application."""
    capsys.readouterr()
    assert main(["doctor", "--json"]) == exit_code
    checks = json.loads(capsys.readouterr().out)["checks"]
    return [check for check in checks if check["name"] == "application"]


def test_doctor_tells_what_a_cutover_would_miss_of_the_application(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that P0 refuses for, days before."""
    (none,) = application_checks(capsys, exit_code=0)
    assert none["status"] == "skipped"
    (tmp_path / "nasmigrate.toml").write_text(
        "[app]\nroute = 'command'\nstart = './start.sh'\nenv_file = 'app.env'\n"
        "env = ['DATABASE=postgres', 'PASSWORD=env:MARKET_PASSWORD']\n"
        "[cutover]\nafter_open = 'no-such-program --now'\n"
    )
    (tmp_path / "nasmigrate.toml").chmod(0o600)
    told = application_checks(capsys, exit_code=6)
    assert [check["status"] for check in told] == ["fail"] * 3
    assert [check["detail"].split(":")[0] for check in told] == ["ENV_FILE", "COMMAND", "COMMAND"]
    assert "app.env is not there" in told[0]["detail"]
    (tmp_path / "app.env").write_text("DATABASE=sqlite\n")
    (tmp_path / "app.env").chmod(0o600)
    for program in ("start.sh", "no-such-program"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (told_of_variable,) = application_checks(capsys, exit_code=6)
    assert "the environment variable MARKET_PASSWORD is not set" in told_of_variable["detail"]
    monkeypatch.setenv("MARKET_PASSWORD", SECRET)
    (fine,) = application_checks(capsys, exit_code=0)
    assert fine["status"] == "ok"
    assert "keys to set in app.env: 2" in fine["detail"]
    assert (tmp_path / "app.env").read_text() == "DATABASE=sqlite\n"


def test_doctor_asks_the_health_page_that_a_cutover_will_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "nasmigrate.toml").write_text(f"[app]\nhealth_url = '{url}/health'\n")
        assert [check["status"] for check in application_checks(capsys, exit_code=0)] == ["skipped", "ok"]
        (tmp_path / "nasmigrate.toml").write_text(f"[app]\nhealth_url = '{url}/elsewhere'\n")
        away = application_checks(capsys, exit_code=0)[1]
        server.shutdown()
        thread.join()
    assert away["status"] == "warn"
    assert "404" in away["detail"]
    assert "app.health_url" in away["fix"]


class Healthy(BaseHTTPRequestHandler):
    """An application that is well, at /health."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
