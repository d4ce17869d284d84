"""`nasmigrate lint-app`: what an application's source must change before it can run on Postgres."""

from __future__ import annotations

from nasmigrate.workflows.lint_app.document import AppLint, SqlHit
from nasmigrate.workflows.lint_app.lint import lint_app

__all__ = ["AppLint", "SqlHit", "lint_app"]
