"""Where cases live: the same tables on SQLite and PostgreSQL."""
