"""What both sides share: the schema model, codecs, type rules, SQL expressions and Alembic revisions."""
