"""Backups: dumps of Postgres, copies of SQLite, the manifest, what is kept."""
