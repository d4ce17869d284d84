"""The sections of nasmigrate.toml about what runs beside the application: backups and Kill Bill."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from nasmigrate.core.config_section import Section, names


class BackupSection(Section):
    """`[backup]`: what is backed up, and where to."""

    directory: str = Field(default="backups", min_length=1, description="Folder of the backups.")
    databases: Annotated[tuple[str, ...], BeforeValidator(names, json_schema_input_type=str | list[str])] = Field(
        default=(),
        description="Databases of the target's server; none = the target's, and killbill where there is one.",
    )
    keep: int = Field(
        default=14, ge=1, le=10_000, description="Backups to keep; older ones are removed after a new one."
    )
    tools: str | None = Field(
        default=None, min_length=1, description="Folder of pg_dump and pg_restore of the server's version."
    )


class KillbillSection(Section):
    """`[killbill]`: where Kill Bill is, and who is put into it."""

    url: str = Field(default="http://127.0.0.1:18080", min_length=1, description="Kill Bill's address.")
    user: str = Field(default="admin", min_length=1, description="Kill Bill's administrator.")
    password_file: str = Field(
        default="stack/secrets/killbill_admin_password", min_length=1, description="File with that user's password."
    )
    api_key: str = Field(
        default="marketplace", min_length=1, max_length=128, description="Key of the tenant; made where it is absent."
    )
    api_secret_file: str = Field(
        default="stack/secrets/killbill_tenant_secret",
        min_length=1,
        description="File with the tenant's secret; made together with the tenant.",
    )
    query: str = Field(
        default="SELECT id AS external_key, full_name AS name, email, phone FROM public.users",
        min_length=1,
        description="One SELECT on the target that gives the people; its columns are fields of an account.",
    )
    currency: str | None = Field(default=None, description="Currency of every account; Kill Bill never changes it.")
    time_zone: str | None = Field(default="UTC", description="Time zone of every account; Kill Bill never changes it.")
    locale: str | None = Field(default=None, description="Locale of every account, such as en_US.")
    auto_invoicing_off: bool = Field(default=True, description="Tag new accounts so that nothing is invoiced yet.")
    workers: int = Field(default=4, ge=1, le=4, description="Requests in flight; more than 4 gain nothing.")
    timeout: float = Field(default=30.0, gt=0, le=600, description="Seconds to wait for an answer.")
