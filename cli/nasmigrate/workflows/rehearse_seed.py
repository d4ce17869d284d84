"""The part of a rehearsal that is about Kill Bill: everyone into a tenant of its own, or at least everyone checked."""

from __future__ import annotations

import secrets
from dataclasses import replace

from nasmigrate.core.errors import ConfigError, PreflightError
from nasmigrate.core.result import Gate
from nasmigrate.core.target import Target
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.seed import check_people, seed_within

TENANT = "rehearsal-"


def rehearse_seed(run: Run, conninfo: str, display: str, *, with_stack: bool) -> Gate:
    """Seed from the scratch database into a scratch tenant of the real Kill Bill; without it, check the mapping.

    Kill Bill has no way to remove a tenant: the scratch one stays, named after its purpose, and nobody uses it.
    """
    if not with_stack:
        try:
            return check_people(run.context, conninfo)
        except (PreflightError, ConfigError) as error:
            reasons = "; ".join(getattr(error, "checks", ())[:3])
            detail = f"{error.message}{': ' if reasons else ''}{reasons}"
            return Gate(name="seed-planned", status="fail", detail=detail, checked=1)
    config = run.context.config
    scratch = config.killbill.model_copy(
        update={
            "api_key": TENANT + secrets.token_hex(6),
            "api_secret_file": str(run.directory.path("tenant-secret").absolute()),
        }
    )
    context = replace(run.context, config=config.model_copy(update={"killbill": scratch}))
    with run.phase("seed", f"tenant {scratch.api_key}"):
        target = Target(conninfo=conninfo, display=display)
        return seed_within(run, context, target, again="nasmigrate stack status, then rehearse again")
