"""The sections of nasmigrate.toml about the night itself: `[app]` and `[cutover]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from nasmigrate.core.config_section import Section, names

Route = Literal["manual", "command", "compose"]
Lines = Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=str | list[str])]


def _command(description: str) -> str | None:
    """A field with the words of a program to run; no shell reads them."""
    found: str | None = Field(default=None, min_length=1, description=description)
    return found


class AppSection(Section):
    """`[app]`: the application that moves, and how it is led from one engine to the other."""

    role: str | None = Field(default=None, min_length=1, description="Its Postgres role [<database>_app].")
    needs_ddl: bool = Field(default=False, description="It changes its own schema, so it joins the owner's role.")
    busy_timeout: float = Field(
        default=1.0, gt=0, le=600, description="Seconds its SQLite driver waits for a lock; bounds the freeze."
    )
    route: Route = Field(default="manual", description="How it is led to Postgres: manual, command or compose.")
    env_file: str | None = Field(default=None, min_length=1, description="File of KEY=VALUE lines it is started with.")
    env: Lines = Field(default=(), description="Lines to set there for Postgres: KEY=VALUE or KEY=env:NAME.")
    start: str | None = _command(
        "Command that (re)starts it; for route `command`. A server it leaves running in the background should write "
        "its output to a file of its own."
    )
    stop: str | None = _command("Command that stops it, run before `start` when given.")
    compose_file: str | None = Field(default=None, min_length=1, description="Compose file; for route `compose`.")
    compose_project: str | None = Field(default=None, min_length=1, description="Compose's name of that stack.")
    compose_service: str | None = Field(default=None, min_length=1, description="Its service there.")
    health_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Answers 2xx when it serves; asked after a cutover and a rollback.",
    )
    maintenance_on: str | None = _command("Command that shows the maintenance page, before the freeze.")
    maintenance_off: str | None = _command("Command that takes it away again.")
    cron_pause: str | None = _command("Command that keeps jobs from restarting the application.")
    cron_resume: str | None = _command("Command that lets them run again.")
    command_timeout: float = Field(default=60.0, gt=0, le=3600, description="Seconds for each of these commands.")
    arrival_timeout: float = Field(
        default=60.0,
        gt=0,
        le=86400,
        description="Seconds to wait for its role in pg_stat_activity and for its health.",
    )

    @model_validator(mode="after")
    def _check(self) -> AppSection:
        for line in self.env:
            if "=" not in line:
                raise ValueError(f"env: {line.split('=')[0]!r} is not of the form KEY=VALUE or KEY=env:NAME")
        if self.env and self.env_file is None:
            raise ValueError("env needs env_file, the file to put these lines into")
        if self.route == "command" and self.start is None:
            raise ValueError("route 'command' needs start, the command that starts the application")
        if self.route == "compose" and self.compose_service is None:
            raise ValueError("route 'compose' needs compose_service, the service to recreate")
        return self


class CutoverSection(Section):
    """`[cutover]`: limits of the pause, and commands at named points."""

    max_freeze: float = Field(
        default=0.0, ge=0, le=3600, description="Most seconds of the write pause [0.8 x app.busy_timeout]."
    )
    freeze_wait: float = Field(default=5.0, gt=0, le=3600, description="Seconds to wait for the source's write lock.")
    passes: int = Field(default=10, ge=1, le=1000, description="Most catch-up passes before it gives up.")
    lock_wait: float = Field(
        default=10.0, gt=0, le=3600, description="Seconds a rollback waits for the locks on Postgres' tables."
    )
    max_lock: float = Field(
        default=5.0, gt=0, le=3600, description="Most seconds a rollback may hold Postgres' writers up."
    )
    seed: bool = Field(default=False, description="Seed Kill Bill after the proof, by [killbill].")
    dump: bool = Field(default=True, description="Take a pg_dump after the opening, where pg_dump is found.")
    before_freeze: str | None = _command("Command before the freeze; when it fails, nothing is frozen.")
    after_open: str | None = _command("Command after the opening; its failure is reported, and undoes nothing.")
    after_route: str | None = _command("Command after the application was routed; as above.")
    after_rollback: str | None = _command("Command after a rollback; as above.")
    hook_timeout: float = Field(default=30.0, gt=0, le=3600, description="Seconds for each of these commands.")
