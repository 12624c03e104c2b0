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


def compiled_bounds() -> tuple[int, int]:
    """How many ocids compile, at least and at most, where every case and file is collected once."""
    least = sum(case.compiled is True for case in CASES) + sum(file.compiled or 0 for file in FILES)
    # Of the files that may go either way none has more than two ocids.
    most = least + sum(case.compiled is None for case in CASES) + 2 * sum(file.compiled is None for file in FILES)
    return least, most


__all__ = [
    "BROKEN_FILES",
    "CASES",
    "FILES",
    "PREFIX",
    "Case",
    "HostileFile",
    "compiled_bounds",
    "enormous_line",
    "gzip_bomb",
]
