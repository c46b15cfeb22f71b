"""Where state lives: the port (`port`), its SQLite implementation, and the SQL itself in `sql/`."""
