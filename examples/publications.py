"""The demo's four publications, as the files that their publishers would offer: paths with content.

Belongs here: which files there are, and their shape. Does not belong here: the releases (`stories`, `hostile`).
"""

from __future__ import annotations

import datetime
import json
import random
from typing import TYPE_CHECKING, Any

from examples.archives import gzipped, tarred, zipped
from examples.countries import COSTAGUANA, GRAUSTARK, RURITANIA, Country
from examples.hostile import CASES, FILES
from examples.hostile.case import PREFIX
from examples.invent import Inventor, Json
from examples.stories import tell, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 100
"""How many releases the API of Ruritania gives at a time."""


def ruritania(seed: str, processes: int = 400) -> Iterator[tuple[str, bytes]]:
    """The pages of an API: release packages, several releases an ocid, five years, in the order of dates."""
    rng = random.Random(f"{seed}:ruritania")
    inventor = Inventor(rng, RURITANIA)
    releases = [
        release
        for number in range(1, processes + 1)
        for release in tell(inventor, number, _moment(rng, rng.choice((2019, 2020, 2021, 2022, 2023))))
    ]
    releases.sort(key=lambda release: (release["date"], release["id"]))
    for page, start in enumerate(range(0, len(releases), PAGE), 1):
        yield f"page-{page:03}.json", _bytes({**_package(RURITANIA), "releases": releases[start : start + PAGE]})


def graustark(seed: str, count: int = 30_000) -> Iterator[tuple[str, bytes]]:
    """A large publication: whole processes in one release each, one in ten corrected later; eight years.

    Seven years are JSON Lines, compressed; the last is a zip of release packages.
    """
    rng = random.Random(f"{seed}:graustark")
    inventor = Inventor(rng, GRAUSTARK)
    years = range(2017, 2025)
    number = 0
    for year in years:
        # Each year has as many more than the one before as the first has.
        wanted = count * (year - years[0] + 1) // sum(range(1, len(years) + 1))
        if year == years[-1]:
            wanted = count - number
        lines: list[bytes] = []
        while len(lines) < wanted:
            release = whole(inventor, number + len(lines) + 1, _moment(rng, year))
            lines.append(_bytes(release))
            if rng.random() < 0.1 and len(lines) < wanted:
                lines.append(_bytes(_corrected(release)))
        number += wanted
        if lines and year != years[-1]:
            yield f"{year}.jsonl.gz", gzipped(b"\n".join(lines) + b"\n")
        elif lines:
            yield f"{year}.zip", zipped(_packages(lines))


def costaguana(seed: str, count: int = 160) -> Iterator[tuple[str, bytes]]:
    """A small publication in Spanish: record packages in a tar.gz; some records have links in place of releases."""
    rng = random.Random(f"{seed}:costaguana")
    inventor = Inventor(rng, COSTAGUANA)
    members: list[tuple[str, bytes]] = []
    for year in (2020, 2021, 2022, 2023):
        records: list[Json] = []
        for number in range(1, count // 4 + 1):
            start = _moment(rng, year)
            if number % 8:
                releases = tell(inventor, number, start)
                records.append({"ocid": releases[0]["ocid"], "releases": releases})
            else:
                compiled = {**whole(inventor, number, start), "tag": ["compiled"]}
                link = {"url": f"http://127.0.0.1/{number}.json", "date": compiled["date"], "tag": ["tender"]}
                records.append({"ocid": compiled["ocid"], "releases": [link], "compiledRelease": compiled})
        package = {**_package(COSTAGUANA), "packages": [], "records": records}
        members.append((f"datos/{year}/registros.json", _bytes(package)))
    yield "registros.tar.gz", tarred([("datos/", b""), *members])


def quirk(seed: str, count: int = 600) -> Iterator[tuple[str, bytes]]:
    """Every hostile case, among ordinary releases as a real publisher's would be."""
    rng = random.Random(f"{seed}:quirk")
    inventor = Inventor(rng, RURITANIA)
    for year in (2020, 2021, 2022):
        releases = [
            # A country of its own would only hide whose releases these are.
            {**whole(inventor, number, _moment(rng, year)), "ocid": f"{PREFIX}-ordinary-{year}-{number:04}"}
            for number in range(1, count // 3 + 1)
        ]
        yield f"ordinary/{year}.json", _bytes({**_package(RURITANIA, "Office of Oddities"), "releases": releases})
    yield "releases/cases.jsonl", b"".join(line + b"\n" for case in CASES for line in case.lines)
    for file in FILES:
        yield file.path, file.body


def _package(country: Country, publisher: str = "") -> Json:
    place = f"http://127.0.0.1/{country.name.lower()}"
    return {
        "uri": f"{place}/package.json",
        "version": "1.1",
        "publishedDate": "2025-01-15T00:00:00Z",
        "publisher": {"name": publisher or f"{country.name} Procurement Office"},
        "license": f"{place}/licence",
        "publicationPolicy": f"{place}/policy",
    }


def _packages(lines: list[bytes], size: int = 1_000) -> Iterator[tuple[str, bytes]]:
    head = _bytes(_package(GRAUSTARK))[:-1]
    for page, start in enumerate(range(0, len(lines), size), 1):
        body = head + b',"releases":[' + b",".join(lines[start : start + size]) + b"]}"
        yield f"graustark/releases/part-{page:02}.json", body


def _corrected(release: Json) -> Json:
    """A later release of the same process that mends its title and cancels nothing else."""
    later = f"{release['date'][:17]}59Z"
    tender = {**release["tender"], "title": f"{release['tender']['title']} (corrected)"}
    return {**release, "id": f"{release['id']}-corrected", "date": later, "tag": ["tenderUpdate"], "tender": tender}


def _moment(rng: random.Random, year: int) -> datetime.datetime:
    """A moment in the first half of a year, so that most processes end within it."""
    return datetime.datetime(year, 1, 1, 8, tzinfo=datetime.UTC) + datetime.timedelta(minutes=rng.randrange(260_000))


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
