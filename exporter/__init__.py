"""What the registry makes of compiled releases: a library and `python -m exporter`.

Belongs here: files for analysts, from JSON Lines to Excel. Does not belong here: dagster, a database, or anything of
the other packages, since people use it who only have a file of compiled releases.
"""
