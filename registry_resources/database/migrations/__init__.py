"""The history of the database's schema, as Alembic keeps it."""
