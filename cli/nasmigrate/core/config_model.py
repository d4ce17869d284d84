"""The model of nasmigrate.toml: its sections, their keys, types, bounds and defaults."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from nasmigrate.core.config_cutover import AppSection, CutoverSection
from nasmigrate.core.config_section import Section, names
from nasmigrate.core.config_services import BackupSection, KillbillSection

# Rules that may be opted into per column; every other name is an error. traps: section "Rules".
RULES = (
    "blob-as-text",
    "bool-words",
    "bytes-as-json",
    "empty-as-null",
    "epoch-ms",
    "epoch-s",
    "epoch-us",
    "fold-names",
    "invalid-utf8=bytea",
    "json-reformat",
    "jsonb-blob-as-json",
    "julian-day",
    "money-cents-snap",
    "naive-as-utc",
    "nul-in-text=replace",
    "offset-as-utc",
    "orphans=not-valid",
    "orphans=quarantine",
    "uuid-canonical",
    "zero-date-as-null",
)
FOLD_NAMES = "fold-names"
NOT_VALID = "orphans=not-valid"
QUARANTINE = "orphans=quarantine"
ORPHAN_RULES = (NOT_VALID, QUARANTINE)
"""Rules for foreign keys, named at a column of theirs."""
AVAILABLE_RULES: tuple[str, ...] = tuple(name for name in RULES if name != FOLD_NAMES)
"""Rules for single columns."""

_SIZE = re.compile(r"(\d+)\s*(B|kB|KiB|MB|MiB|GB|GiB)?")
_UNITS = {
    "B": 1,
    "kB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
}
_ACCEPT = re.compile(r"[A-Z][A-Z0-9_]*:.+", re.DOTALL)
"""What follows the colon may be any name that SQLite takes, blanks and line breaks included."""


def _bytes(value: object) -> object:
    """`16 MiB` -> 16777216; anything but text is left to the validator."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("a number of bytes, or a size such as '16 MiB'")
    return int(match[1]) * _UNITS[match[2] or "B"]


class SourceSection(Section):
    """`[source]`: the SQLite file."""

    path: str | None = Field(default=None, min_length=1, description="The SQLite file.")
    busy_timeout: float = Field(default=5.0, ge=0, le=3600, description="Seconds to wait for a lock.")
    deadline: float = Field(
        default=120.0,
        ge=1,
        le=86_400,
        description="Seconds that a step of checking the file may take; as many more for each GiB.",
    )


class TargetSection(Section):
    """`[target]`: the Postgres database."""

    dsn: str | None = Field(default=None, min_length=1, description="postgresql:// URL, key=value, or env:NAME.")
    password_file: str | None = Field(default=None, min_length=1, description="File (0600) with the password.")


class MigrationsSection(Section):
    """`[migrations]`: the Alembic revisions."""

    directory: str = Field(default="migrations", min_length=1, description="Folder of the Alembic revisions.")


class PlanSection(Section):
    """`[plan]`: which tables, and answers to findings."""

    only_tables: Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=str | list[str])] = Field(
        default=(), description="Tables to copy; all when empty."
    )
    exclude_tables: Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=str | list[str])] = Field(
        default=(), description="Tables to leave out."
    )

    accept: Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=str | list[str])] = Field(
        default=(), description="Accepted findings, each CODE:table.column."
    )

    @model_validator(mode="after")
    def _check(self) -> PlanSection:
        for entry in self.accept:
            if not _ACCEPT.fullmatch(entry):
                raise ValueError(f"accept: {entry!r} is not of the form CODE:table.column")
        return self


class ColumnSection(Section):
    """`[columns."table.column"]`: the choice for one column."""

    type: str | None = Field(default=None, min_length=1, description="Postgres type to use for the column.")
    rule: Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=str | list[str])] = Field(
        default=(), description="Mapping rules to apply to the column, or what to do with its rows without a parent."
    )

    @property
    def value_rules(self) -> tuple[str, ...]:
        """The rules that change values."""
        return tuple(name for name in self.rule if name not in ORPHAN_RULES)

    @property
    def orphan_rule(self) -> str | None:
        """What to do with the rows of its foreign key that have no parent."""
        return next((name for name in self.rule if name in ORPHAN_RULES), None)


class NamesSection(Section):
    """`[names]`: what tables, columns and indexes are called in Postgres; as in the source where nothing is said."""

    rule: Literal["fold-names"] | None = Field(default=None, description="Write all other names in snake case.")
    tables: dict[str, str] = Field(default_factory=dict, description="Tables and views: name = name in Postgres.")
    columns: dict[str, str] = Field(default_factory=dict, description="'table.column' = name in Postgres.")
    indexes: dict[str, str] = Field(default_factory=dict, description="Indexes: name = name in Postgres.")


SeedPolicy = Literal["refuse", "replace", "keep-if-equal"]


class ExistingSection(Section):
    """`[existing]`: how `copy --into-existing` treats what it finds in the target."""

    seeds: dict[str, SeedPolicy] = Field(
        default_factory=dict,
        description="Tables that hold rows already: refuse, replace them, or keep-if-equal to the source's.",
    )


class TransferSection(Section):
    """`[transfer]`: the engine, bounds of a chunk, and connections."""

    engine: Literal["native", "pgloader"] = Field(
        default="native", description="What copies the rows; see docs/pgloader.md."
    )
    chunk_rows: int = Field(default=50_000, ge=1, le=10_000_000, description="Most rows in a chunk.")
    chunk_bytes: Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str)] = Field(
        default=16 * 1024**2,
        ge=64 * 1024,
        le=1024**3,
        description="Most bytes in a chunk; '16 MiB' is understood.",
    )
    workers: int = Field(default=2, ge=1, le=64, description="Processes that read and copy at once, for large sources.")
    verify_connections: int = Field(default=2, ge=1, le=64, description="Connections that verify at once.")


class RehearseSection(Section):
    """`[rehearse]`: what a rehearsal proves."""

    round_trip: bool = Field(default=True, description="Decode Postgres back to SQLite and compare.")
    cutover: bool = Field(default=True, description="Also rehearse cutover and rollback on a copy, under writes.")


SERVICES = ("postgres", "redis", "killbill", "marketplace_web")
"""What `stack up` can start, in that order."""


class StackSection(Section):
    """`[stack]`: the containers."""

    directory: str = Field(default="stack", min_length=1, description="Folder of compose.yaml, .env and the secrets.")
    project: str = Field(
        default="nasmigrate", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Compose's name of the stack."
    )
    services: Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=str | list[str])] = Field(
        default=SERVICES, description="What to run; leave marketplace_web out if it runs on the host."
    )
    timeout: float = Field(default=300.0, gt=0, le=3600, description="Seconds until a service must be healthy.")

    @model_validator(mode="after")
    def _check(self) -> StackSection:
        for name in self.services:
            if name not in SERVICES:
                raise ValueError(f"services: {name!r} is none of {', '.join(SERVICES)}")
        return self


class Config(Section):
    """All settings of one project."""

    source: SourceSection = SourceSection()
    target: TargetSection = TargetSection()
    migrations: MigrationsSection = MigrationsSection()
    plan: PlanSection = PlanSection()
    columns: dict[str, ColumnSection] = Field(default_factory=dict)
    names: NamesSection = NamesSection()
    existing: ExistingSection = ExistingSection()
    transfer: TransferSection = TransferSection()
    rehearse: RehearseSection = RehearseSection()
    killbill: KillbillSection = KillbillSection()
    app: AppSection = AppSection()
    cutover: CutoverSection = CutoverSection()
    stack: StackSection = StackSection()
    backup: BackupSection = BackupSection()
