"""The registry's database: models, sessions and migrations."""
