"""The short way for single releases gives what ocdsmerge gives, to the order of keys."""

from __future__ import annotations

import gzip
import json
import warnings

import ocdsmerge
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_resources.process.merge_rules import MERGE_RULES
from registry_resources.process.single import NotSimpleError, compile_single

MERGER = ocdsmerge.Merger(merge_rules=MERGE_RULES)

KEYS = st.sampled_from(
    [
        "id",
        "date",
        "tag",
        "ocid",
        "tender",
        "items",
        "parties",
        "roles",
        "additionalClassifications",
        "submissionMethod",
        "x",
        "",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "1", "None", "text"])
VALUES = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(KEYS, children, max_size=4),
    max_leaves=25,
)


def by_ocdsmerge(release):
    """The reference, or the class of its refusal: warned of, or an `id` it can't take."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return json.dumps(MERGER.create_compiled_release([release]))
        except (TypeError, ocdsmerge.exceptions.DuplicateIdValueWarning):
            return NotSimpleError


def by_short_way(release):
    try:
        return json.dumps(compile_single(release))
    except NotSimpleError:
        return NotSimpleError


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_any_release_is_compiled_as_ocdsmerge_does(fields):
    """And where ocdsmerge warns or stops, the short way leaves it to it."""
    release = {**fields, "ocid": "o"}
    short, reference = by_short_way(release), by_ocdsmerge(release)
    assert short in (reference, NotSimpleError)
    if reference is NotSimpleError:
        assert short is NotSimpleError


@pytest.mark.parametrize("publisher", ["armenia-armeps", "nigeria-budeshi", "uk-contracts-finder", "moldova-etenders"])
def test_real_releases_are_compiled_as_ocdsmerge_does(shared, publisher):
    """Taken as releases, compiled ones have every feature of their publisher."""
    with gzip.open(shared / "data" / publisher / "compiled.jsonl.gz") as file:
        for line in file:
            release = json.loads(line)
            assert by_short_way(release) == by_ocdsmerge(release)
