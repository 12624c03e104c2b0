"""The table of merge rules is that of the 1.1.5 release schema, and needs no network."""

from __future__ import annotations

import json
import socket

import ocdsmerge
import pytest
from ocdsmerge.rules import get_merge_rules

from registry_resources.process.compiling import Compiler
from registry_resources.process.merge_rules import MERGE_RULES
from registry_resources.process.tally import Tally


def test_the_rules_are_among_those_of_a_later_schema(shared):
    """The schema at hand has the fields of 1.1.5 and later ones: of the former it says what the table says."""
    schema = json.loads((shared / "ocds" / "release-schema.json").read_text())
    rules = get_merge_rules(schema)
    assert MERGE_RULES.items() <= rules.items()


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (("id",), "omitWhenMerged"),
        (("date",), "omitWhenMerged"),
        (("tag",), "omitWhenMerged"),
        (("parties", "additionalIdentifiers"), "wholeListMerge"),
        (("tender", "submissionMethod"), "wholeListMerge"),
        (("contracts", "items", "additionalClassifications"), "wholeListMerge"),
        (("tender", "items", "deliveryAddresses"), None),  # of an extension
        (("parties",), None),
        (("ocid",), None),
    ],
)
def test_a_rule_by_hand(path, rule):
    """As the merging specification and the schema's reference say."""
    assert MERGE_RULES.get(path) == rule
    assert len(MERGE_RULES) == 24


def test_merging_asks_nobody(monkeypatch):
    """The library would fetch the schema if it had no rules."""
    monkeypatch.setattr(socket, "socket", None)
    Compiler(Tally())
    ocdsmerge.Merger(merge_rules=MERGE_RULES)
