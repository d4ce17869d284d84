"""nasmigrate: move an application from SQLite to PostgreSQL with proof at every step."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
