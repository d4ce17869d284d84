"""Kill Bill: its database, its REST interface, and putting the application's people into it."""
