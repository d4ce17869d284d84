"""A Kill Bill that silently runs on its embedded database is green everywhere but here."""

from __future__ import annotations

import json
import urllib.request

from support.stack import Stack


def test_up_catches_a_kill_bill_on_h2(stack: Stack) -> None:
    """With the variables of the plan's compose file: nothing reads them."""
    file = stack.folder / "compose.yaml"
    shipped = file.read_text()
    file.write_text(shipped.replace("KILLBILL_DAO_", "KILLBILL_DATABASE_"))
    try:
        ran = stack.up()
        assert ran.code == 10
        assert "error[NM1020]: killbill: healthy, but not on Postgres" in ran.err
        assert "KILLBILL_DATABASE_URL and the like are read by nothing" in ran.err
        assert "KILLBILL_VARIABLES" in stack.nasmigrate("stack", "import", "stack/compose.yaml").out
        listed = stack.nasmigrate("checklist", "--json").json()["lines"]
        assert {line["name"]: line["status"] for line in listed if line["name"].startswith("kill bill")} == {
            "kill bill page": "ok",
            "kill bill health": "ok",
            "kill bill on postgres": "fail",
        }
        # It was green: this is why the proof asks Postgres.
        assert stack.inspect("killbill")["State"]["Health"]["Status"] == "healthy"
        url = f"http://127.0.0.1:{stack.port('killbill')}/1.0/healthcheck"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200
            assert json.load(answer)
    finally:
        file.write_text(shipped)
    stack.must("stack", "up")
