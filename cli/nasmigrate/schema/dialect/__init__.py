"""What the application's own SQL says in SQLite that Postgres refuses or answers otherwise.

The rules are data: `words` for what a word or two tell, `shapes` for what takes more of the statement. They read SQL
text and the plan's names, nothing else; nothing is executed.
"""

from __future__ import annotations

from nasmigrate.schema.dialect.check import check
from nasmigrate.schema.dialect.names import Names
from nasmigrate.schema.dialect.statement import Hit

__all__ = ["Hit", "Names", "check"]
