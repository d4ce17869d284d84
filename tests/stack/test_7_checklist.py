"""`checklist` on the whole stack: what holds is ok with its evidence, what was not done yet is not."""

from __future__ import annotations

from support.stack import Stack, docker

ALWAYS = {
    "postgres", "redis", "killbill", "marketplace_web", "kill bill page", "kill bill health", "kill bill on postgres",
    "marketplace health", "data outside the containers", "back after a reboot", "secrets apart and private",
    "internal network", "ports on loopback only",
}  # fmt: skip


def lines(stack: Stack, *options: str) -> tuple[int, dict[str, dict]]:
    ran = stack.nasmigrate("checklist", "--json", *options)
    return ran.code, {line["name"]: line for line in ran.json()["lines"]}


def test_new_stack_lacks_only_what_nobody_did_yet(stack: Stack) -> None:
    (stack.home / "backups" / "last-backup.json").unlink(missing_ok=True)  # other tests made one
    code, found = lines(stack)
    assert {name for name, line in found.items() if line["status"] == "ok"} == ALWAYS
    assert found["data persists"]["status"] == "unknown"
    assert found["backup younger than a day"]["status"] == "fail"
    assert "runs on sqlite" in found["marketplace health"]["evidence"]
    assert "3 integrations registered" in found["marketplace health"]["evidence"]
    assert code == 3


def test_everything_holds_after_a_backup_and_a_reboot_test(stack: Stack) -> None:
    stack.must("backup")
    code, found = lines(stack, "--reboot-test")
    assert {name: line["evidence"] for name, line in found.items() if line["status"] != "ok"} == {}
    assert code == 0
    assert "markers in postgres and redis were there" in found["data persists"]["evidence"]
    assert lines(stack)[0] == 0


def test_a_service_that_is_down(stack: Stack) -> None:
    docker("stop", stack.container("redis"))
    try:
        code, found = lines(stack)
        assert code == 3
        assert found["redis"]["status"] == "fail"
        assert "nasmigrate stack up" in found["redis"]["fix"]
    finally:
        stack.must("stack", "up")
