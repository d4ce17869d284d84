"""The part of `doctor` that only a cutover needs: the application's role, and limits that fit its driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nasmigrate.core.context import Context
    from nasmigrate.core.target import Target


def role_check(context: Context, target: Target) -> Iterator[tuple[Literal["ok", "warn"], str, str | None]]:
    """(status, detail, fix) of the application's role in the target.

    Raises:
        TargetError: the target cannot be asked.
        ConfigError: the roles of the settings cannot be told apart.
    """
    from nasmigrate.postgres.connect import connected
    from nasmigrate.postgres.control_row import State, read_control
    from nasmigrate.postgres.roles import missing_roles
    from nasmigrate.postgres.roles_check import application_problems
    from nasmigrate.sqlite.open import BUSY_TIMEOUT
    from nasmigrate.workflows.cutover.ends import roles_of

    roles = roles_of(context.config, target)
    with connected(target.conninfo, purpose="nasmigrate status") as connection:
        control = read_control(connection)
        if control is not None and control.state is State.OPEN:
            yield "ok", f"{roles.application} writes here since the cutover (nasmigrate status)", None
            return
        problems = application_problems(connection, roles.application, owner=roles.owner, writer=roles.writer)
        lines = missing_roles(connection, roles)
    if problems:
        made = "; ".join(lines) if lines else "take these rights away"
        yield "warn", "; ".join(problems), f"for a cutover, let an administrator run, with a password: {made}"
    else:
        yield "ok", f"{roles.application} may log in and cannot write yet, as a cutover needs it", None
    if context.config.app.busy_timeout < 1.0:
        yield (
            "warn",
            f"app.busy_timeout is {context.config.app.busy_timeout:g} s: a freeze may take 0.8 of it",
            f"raise the driver's timeout, as PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}, and app.busy_timeout",
        )
