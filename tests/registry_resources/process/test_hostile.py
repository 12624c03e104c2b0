"""Whatever bytes were collected, processing ends well, and accounts for them."""

from __future__ import annotations

import json
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_resources.process.documents import DocumentReader
from registry_resources.process.entries import Entry, Kind
from registry_resources.process.jsontext import BadJsonError, JsonText
from registry_resources.process.tally import Tally

RELEASES = [
    {
        "ocid": f"ocds-{n}",
        "id": "é",
        "date": "2020-01-01",
        "tag": ["tender"],
        "tender": {"items": [{"id": n, "q": 1.5}]},
    }
    for n in range(4)
]
SEEDS = [
    json.dumps({"license": "L", "releases": RELEASES}).encode(),
    json.dumps(
        {"records": [{"ocid": "ocds-1", "releases": RELEASES[:2], "compiledRelease": RELEASES[2]}]}, indent=1
    ).encode(),
    "\n".join(json.dumps(release, ensure_ascii=False) for release in RELEASES).encode(),
    json.dumps([RELEASES[0], {"releases": RELEASES[1:]}], indent=0).encode(),
]


def read(data: bytes) -> tuple[list[Entry], Tally]:
    """Read one file's documents."""
    at = [0]

    def take(size: int) -> bytes:
        at[0] += size
        return data[at[0] - size : at[0]]

    entries: list[Entry] = []
    tally = Tally()
    try:
        DocumentReader(JsonText(take), 0, "file", entries.append, tally).read()
    except BadJsonError:  # only the very first bytes may say so: a text of UTF-16 that isn't
        assert data[:2] in {b"\xff\xfe", b"\xfe\xff"}
    return entries, tally


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS), st.integers(0, 2**32), st.integers(1, 5))
def test_damaged_files_never_stop_the_reading(seed, chance, damages):
    """Bytes changed, cut out, doubled: each document is read or counted, and what is handed on is JSON."""
    rng = random.Random(chance)
    data = bytearray(seed)
    for _ in range(damages):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randrange(20)]
            case 2:
                data[at:at] = data[max(0, at - 30) : at]
            case _:
                data[at:at] = rng.choice([b'"', b"{", b"]", b"\n", b",", b"\\", b"NaN", b"\xef\xbb\xbf"])
    entries, tally = read(bytes(data))
    for entry in entries:
        if entry.kind == Kind.RELEASE:
            assert json.loads(entry.data)["ocid"] == entry.ocid
        else:
            json.loads(entry.data)
    assert tally.counts["documents"] >= (1 if bytes(data).strip() else 0)
    noted = sum(total for total, _ in tally.notes.values())
    reasons = ("invalid_json", "not_ocds", "not_an_object", "no_ocid", "ocid_not_text", "nesting")
    assert noted == sum(tally.counts[f"skipped_{reason}"] for reason in reasons)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_never_stop_the_reading(data):
    """Images, HTML, noise."""
    entries, _ = read(data)
    assert not entries


def test_in_lines_only_the_damaged_line_is_lost():
    """For any one line that is damaged so that it isn't JSON."""
    lines = [json.dumps(release).encode() for release in RELEASES]
    for index in range(len(lines)):
        for cut in range(1, len(lines[index])):
            damaged = [*lines[:index], lines[index][:cut], *lines[index + 1 :]]
            entries, tally = read(b"\n".join(damaged))
            assert tally.counts["skipped_invalid_json"] == 1
            assert [entry.ocid for entry in entries] == [f"ocds-{n}" for n in range(4) if n != index]
