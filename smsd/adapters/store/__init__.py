"""The state store: one SQLite file (or one PostgreSQL database) that remembers what was seen, decided and sent."""
