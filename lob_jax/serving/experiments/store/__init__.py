"""The database of experiments: what was assigned, scored and decided, in SQLite or PostgreSQL."""
