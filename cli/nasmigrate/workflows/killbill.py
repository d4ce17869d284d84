"""What seeding needs to know of this project: Kill Bill's address, the secrets, and the people."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import ConfigError, KillBillError, PreflightError
from nasmigrate.core.rundir import write_atomic
from nasmigrate.core.target import read_password
from nasmigrate.killbill.client import KillBill
from nasmigrate.killbill.people import People, read_people
from nasmigrate.killbill.rest import Endpoint

_SECRET_BYTES = 24


def is_configured(context: Context) -> bool:
    """Whether there is a Kill Bill to seed: the file with its administrator's password is there."""
    return _path(context, context.config.killbill.password_file).is_file()


def people_of(context: Context, conninfo: str) -> People:
    """The people of the migrated database, every one checked.

    Raises:
        PreflightError: some do not fit Kill Bill's limits; all are listed.
        ConfigError: the query does not give people.
        TargetError: the database cannot be read.
    """
    settings = context.config.killbill
    constants = {"currency": settings.currency, "time_zone": settings.time_zone, "locale": settings.locale}
    people = read_people(conninfo, settings.query, constants)
    if people.problems:
        raise PreflightError(
            f"{len(people.problems)} values of {len(people.accounts)} people do not fit Kill Bill; nothing was sent",
            checks=people.problems,
            hint="[killbill] query can cut, cast or leave out; a fix in the application's data is better",
        )
    return people


@contextmanager
def tenant(context: Context, sent_by: str, *, create: bool) -> Iterator[KillBill]:
    """A client for the tenant of the settings; with `create`, the tenant is made where it is absent.

    The tenant's secret is made and written to its file before the tenant is, so that it cannot be lost.

    Raises:
        ConfigError: a secret's file cannot be read or written.
        KillBillError: no answer; or the tenant is there, and its secret is not.
    """
    settings = context.config.killbill
    file = _path(context, settings.api_secret_file)
    made_secret = create and not file.exists()
    if made_secret:
        try:
            write_atomic(file, secrets.token_urlsafe(_SECRET_BYTES).encode())
        except OSError as error:
            raise ConfigError(
                f"killbill.api_secret_file {file}: cannot be written: {error.strerror}", code="NM0543"
            ) from error
    endpoint = Endpoint(
        url=settings.url,
        user=settings.user,
        password=read_password(_path(context, settings.password_file)),
        api_key=settings.api_key,
        api_secret=read_password(file),
        created_by=sent_by,
        timeout=settings.timeout,
    )
    with KillBill(endpoint) as client:
        if create and not client.create_tenant() and made_secret and not client.knows_the_tenant():
            file.unlink()
            raise KillBillError(
                f"tenant {settings.api_key!r} is in Kill Bill already, but {file} with its secret is missing",
                hint="put its secret there, or choose another killbill.api_key",
            )
        yield client


def _path(context: Context, path: str) -> Path:
    return context.base / Path(path).expanduser()
