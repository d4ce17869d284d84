"""The settings that lead from nasmigrate.toml to the stack: its source, its target, its application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.stack.folder import APPLICATION_FILE, COMPOSE_FILE, SECRETS
from nasmigrate.stack.variables import compose_variables
from nasmigrate.workflows.stack import stack_folder
from nasmigrate.workflows.stack_databases import MARKETPLACE

DEFAULT_POSTGRES_PORT = "5433"
DEFAULT_MARKETPLACE_PORT = "3101"
DEFAULT_MARKETPLACE_DATA = "marketplace_data"
SOURCE_FILE = "marketplace.db"
"""These four as in compose.yaml."""
BUSY_TIMEOUT = 5.0
"""Seconds, as in compose/marketplace_web/settings.js."""


def settings_of_stack(context: Context, environ: Mapping[str, str]) -> dict[str, str | bool | float | list[str]]:
    """The settings that lead to this stack, by dotted key, for each part that the present ones leave open.

    Args:
        context: settings.
        environ: compose's variables, which win over the stack's .env.

    Raises:
        ConfigError: the stack's .env cannot be read.
    """
    config = context.config
    base = Path(config.stack.directory)
    variables = compose_variables(stack_folder(context), environ)
    found: dict[str, str | float | list[str]] = {}
    if config.target.dsn is None and "postgres" in config.stack.services:
        port = variables.get("NASMIGRATE_POSTGRES_PORT", DEFAULT_POSTGRES_PORT)
        found["target.dsn"] = f"postgresql://postgres@127.0.0.1:{port}/{MARKETPLACE}"
        found["target.password_file"] = str(base / SECRETS / "postgres_password")
    if "killbill" in config.stack.services and "NASMIGRATE_KILLBILL_PORT" in variables:
        found["killbill.url"] = f"http://127.0.0.1:{variables['NASMIGRATE_KILLBILL_PORT']}"
    if "killbill" in config.stack.services:
        found["cutover.seed"] = True
    if "marketplace_web" not in config.stack.services:
        return found
    data = variables.get("NASMIGRATE_MARKETPLACE_DATA", DEFAULT_MARKETPLACE_DATA)
    source = base / data / SOURCE_FILE
    if config.source.path is None and (context.base / source).is_file():
        found["source.path"] = str(source)
    if config.app.route == "manual":
        port = variables.get("NASMIGRATE_MARKETPLACE_PORT", DEFAULT_MARKETPLACE_PORT)
        found |= {
            "app.route": "compose",
            "app.compose_file": str(base / COMPOSE_FILE),
            "app.compose_project": config.stack.project,
            "app.compose_service": "marketplace_web",
            "app.env_file": str(base / APPLICATION_FILE),
            "app.env": ["DATABASE=postgres"],
            "app.health_url": f"http://127.0.0.1:{port}/api/health",
            "app.busy_timeout": BUSY_TIMEOUT,
        }
    return found
