"""`nasmigrate rollback`: the application goes back to SQLite, with everything Postgres took since. Phases R0 to R5."""

from __future__ import annotations

from nasmigrate.workflows.rollback.options import RollbackOptions
from nasmigrate.workflows.rollback.preview import preview_rollback
from nasmigrate.workflows.rollback.run import rollback, rollback_under_way

__all__ = ["RollbackOptions", "preview_rollback", "rollback", "rollback_under_way"]
