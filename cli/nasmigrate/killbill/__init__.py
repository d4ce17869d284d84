"""Kill Bill: its client, its database, its accounts. The only room that knows HTTP."""
