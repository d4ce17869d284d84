"""The part of `doctor` that only a cutover needs: the application, its role, and limits that fit its driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import psycopg

    from nasmigrate.core.context import Context
    from nasmigrate.core.target import Target
    from nasmigrate.postgres.roles import RoleNames

    Line = tuple[Literal["ok", "warn", "fail", "skipped"], str, str | None]


def role_check(context: Context, target: Target) -> Iterator[Line]:
    """(status, detail, fix) of the application's role in the target.

    Raises:
        TargetError: the target cannot be asked.
        ConfigError: the roles of the settings cannot be told apart.
    """
    from nasmigrate.postgres.connect import connected
    from nasmigrate.postgres.control_row import State, read_control
    from nasmigrate.postgres.role_switch import early_writers
    from nasmigrate.postgres.roles import missing_roles
    from nasmigrate.postgres.roles_check import application_problems
    from nasmigrate.sqlite.open import BUSY_TIMEOUT
    from nasmigrate.workflows.cutover.ends import roles_of

    roles = roles_of(context.config, target)
    with connected(target.conninfo, purpose="nasmigrate status") as connection:
        control = read_control(connection)
        if control is not None and control.state is State.OPEN:
            yield _opened(connection, roles, needs_ddl=context.config.app.needs_ddl)
            return
        problems = application_problems(connection, roles.application, owner=roles.owner, writer=roles.writer)
        others = early_writers(connection, roles)
        lines = missing_roles(connection, roles)
    if problems:
        made = "; ".join(lines) if lines else "take these rights away"
        yield "warn", "; ".join(problems), f"for a cutover, let an administrator run, with a password: {made}"
    for other in others:
        yield "warn", other, "a cutover refuses to begin before"
    if not problems and not others:
        yield "ok", f"{roles.application} may log in and cannot write yet, as a cutover needs it", None
    if context.config.app.busy_timeout < 1.0:
        yield (
            "warn",
            f"app.busy_timeout is {context.config.app.busy_timeout:g} s: a freeze may take 0.8 of it",
            f"raise the driver's timeout, as PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}, and app.busy_timeout",
        )


def application_checks(context: Context, environ: Mapping[str, str]) -> Iterator[Line]:
    """(status, detail, fix) of what a cutover will use to lead the application over: its env file, its commands.

    Args:
        context: settings and base folder.
        environ: where env:NAME of app.env is looked up.
    """
    from nasmigrate.core.errors import ToolFailed
    from nasmigrate.workflows.cutover.preflight import application_failures
    from nasmigrate.workflows.cutover.routing import ask_health

    app = context.config.app
    failures = tuple(application_failures(context.config, context.base, environ))
    for failure in failures:
        yield "fail", failure, "see [app] and [cutover] in nasmigrate.toml; a cutover refuses to begin before"
    if not failures and app.env_file is None and app.route == "manual":
        yield "skipped", "[app] says nothing of it: a cutover waits until you start it on Postgres by hand", None
    elif not failures:
        way = f"keys to set in {app.env_file}: {len(app.env)}" if app.env_file is not None else "no env file"
        yield "ok", f"route {app.route}, {way}, and every command is there", None
    if app.health_url is not None:
        try:
            ask_health(app.health_url, until=0.0)
        except ToolFailed as error:
            yield "warn", error.message, f"if the application runs now, see to app.health_url; else {error.hint}"
        else:
            yield "ok", f"{app.health_url} answers", None


def _opened(connection: psycopg.Connection, roles: RoleNames, *, needs_ddl: bool) -> Line:
    """After a cutover, and after its target was restored elsewhere: whether the application can write in fact."""
    from nasmigrate.postgres.role_switch import closed_tables, switch

    there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (roles.application,)).fetchone()
    if there is None:
        missing = f"the cutover is open, but there is no role {roles.application!r}"
        return "warn", missing, "make it again, with its password and memberships: globals.sql of the backup has them"
    closed = closed_tables(connection, roles.application)
    if closed:
        more = f" and {len(closed) - 1} more" if len(closed) > 1 else ""
        grant = switch(connection, roles, needs_ddl=needs_ddl).as_string(connection)
        return "warn", f"the cutover is open, but {roles.application} may not write to {closed[0]}{more}", grant
    return "ok", f"{roles.application} writes here since the cutover (nasmigrate status)", None
