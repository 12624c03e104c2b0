"""Hostile OCDS inputs, named, each with what must become of it.

Belongs here: the two lists that others use, `CASES` (releases, as lines of JSON) and `FILES` (whole files), and
`BROKEN_FILES`, which no crawl should accept. The cases themselves stand in the modules by what is odd about them.
Does not belong here: anything that reads or repairs such inputs.
"""

from __future__ import annotations

from examples.hostile import dates, keys, merging, numbers, text, values
from examples.hostile.case import PREFIX, Case, HostileFile, enormous_line, gzip_bomb
from examples.hostile.files import BROKEN_FILES, FILES

CASES: tuple[Case, ...] = (
    *dates.CASES,
    *keys.CASES,
    *merging.CASES,
    *numbers.CASES,
    *text.CASES,
    *values.CASES,
)

__all__ = ["BROKEN_FILES", "CASES", "FILES", "PREFIX", "Case", "HostileFile", "enormous_line", "gzip_bomb"]
