"""What the registry talks to: its settings and database, and the backends that collect and process.

Imports nothing of `registry_assets` or `exporter`.
"""
