"""What the registry makes of compiled releases: a library and `python -m exporter`.

No dagster, no database, and nothing of the other packages: it is used by people who only have a file of compiled releases.
"""
