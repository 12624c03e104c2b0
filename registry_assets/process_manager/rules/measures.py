"""What is measured of a version beside the published one, and what it may lose.

What was lost **twice** before is taken for this publication's way: half as much again is tolerated. What was lost once
is not, whoever accepted it: a second such loss is somebody's to judge too. What is tolerated lies between a floor,
which is all that there is without a history, and a ceiling, so that half a publication is blocked whatever was before.

Belongs here: each measure, as a pure function. Does not belong here: what follows from all of them (`activation.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from registry_assets.process_manager.rules.profile import Profile

SLACK = 3
"""As many ocids may always go, below the ceiling: of a handful, one is a large share."""

MINIMUM = 50
"""A year, or a count, with less than that is too small to judge by itself."""

SMALL_YEAR = Fraction(1, 100)
"""Nor is a year judged by itself that holds less than this share of all ocids."""

GROWTH = 3
"""From so many times the ocids on there is a warning: they may be there twice."""

ALL, DATED = "ocids", "ocids with a year"
"""The names of two measures."""

LOST_DAYS = 365
"""If the latest release is older by more days than that, the newest data is missing."""


class Outcome(StrEnum):
    """What becomes of a version, the worst last."""

    ACCEPT = "accept"
    WARN = "warn"
    BLOCK = "block"


@dataclass(frozen=True)
class Range:
    """What may be lost: at least, without a history, and at most, whatever the history."""

    floor: Fraction
    ceiling: Fraction


OCIDS = Range(Fraction(1, 10), Fraction(4, 10))
"""Of all ocids, and of those with a year."""
PARTS = Range(Fraction(1, 2), Fraction(9, 10))
"""Of one year's ocids, and of one count: these change more, as processes go on and publishers mend their data."""
LATEST = Range(Fraction(31), Fraction(LOST_DAYS))
"""Days by which the latest release may become older without a warning."""
EARLIEST = Range(Fraction(366), Fraction(3660))
"""Days by which the earliest release may become younger without a warning."""


@dataclass(frozen=True)
class Measure:
    """One number of a version beside the published version's.

    Attributes:
        name: what is measured.
        before: the published version's, for people.
        after: this version's, for people.
        loss: what is lost: a share of what was there, or days. 0 if nothing is.
        tolerance: above which it blocks (or warns, where it never blocks).
        outcome: what follows from it alone.
        sentence: for people, or "" if it is as it should be.
    """

    name: str
    before: str
    after: str
    loss: Fraction
    tolerance: Fraction
    outcome: Outcome
    sentence: str = ""


def compare(profiles: Sequence[Profile], after: Profile) -> Iterable[Measure]:
    """Measure a version beside the last of those that were published before it."""
    yield _ocids(profiles, after)
    yield from _dated(profiles, after)
    yield from _worst_year(profiles, after)
    yield from _counts(profiles, after)
    yield from _dates(profiles, after)


def drop(before: int, after: int) -> Fraction:
    """The share of what was there that is there no more: 0 if there was nothing, or if there is more now."""
    return Fraction(before - after, before) if before > max(after, 0) else Fraction(0)


def learn(losses: Iterable[Fraction], allowed: Range, least: Fraction | None = None) -> Fraction:
    """What may be lost: half as much again as what was lost twice, between the floor and the ceiling.

    Args:
        losses: what was lost from each version to the next.
        allowed: the floor and the ceiling.
        least: a higher floor, if any.
    """
    twice = sorted(losses, reverse=True)[1:2]
    learnt = max([allowed.floor, least or allowed.floor, *(Fraction(3, 2) * loss for loss in twice)])
    return min(learnt, allowed.ceiling)


def lost_of_year(before: Profile, after: Profile) -> tuple[int, Fraction] | None:
    """The year that lost the largest share of its ocids, and that share; None if there is none to look at.

    A compiled release's year is that of its latest release, so processes that go on move to later years. Only what
    didn't turn up there is lost. The oldest years may go: a publisher that keeps some years only drops those; all
    ocids together tell whether that is too much.
    """
    if before.years is None or after.years is None:
        return None
    judged = [year for year, n in sorted(before.years.items()) if n >= MINIMUM and n >= SMALL_YEAR * before.ocids]
    while judged and not after.years.get(judged[0], 0):
        judged.pop(0)
    found: tuple[int, Fraction] | None = None
    for year in judged[1:]:
        was, now = before.years[year], after.years.get(year, 0)
        missing = _from(before.years, year) - _from(after.years, year)
        share = drop(was, was - min(was - now, max(missing, 0)))
        if found is None or share > found[1]:
            found = year, share
    return found


def _from(years: Mapping[int, int], first: int) -> int:
    return sum(n for year, n in years.items() if year >= first)


def _grade(loss: Fraction, tolerance: Fraction) -> Outcome:
    """Above what is tolerated a loss blocks, above half of it it warns (strictly, both)."""
    if loss > tolerance:
        return Outcome.BLOCK
    return Outcome.WARN if loss > tolerance / 2 else Outcome.ACCEPT


def _share(
    name: str, before: int, after: int, loss: Fraction, tolerance: Fraction, *, what: str | None = None
) -> Measure:
    outcome = _grade(loss, tolerance)
    sentence = ""
    if outcome != Outcome.ACCEPT:
        sentence = f"{after:,} {what or name}, where the published version has {before:,}: {_percent(loss)} fewer"
        sentence += f" ({_percent(tolerance)} would be tolerated)." if outcome == Outcome.BLOCK else "."
    return Measure(name, f"{before:,}", f"{after:,}", loss, tolerance, outcome, sentence)


def _slack(before: int) -> Fraction:
    return Fraction(SLACK, max(before, 1))


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.3g}%"


def _ocids(profiles: Sequence[Profile], after: Profile) -> Measure:
    before = profiles[-1]
    losses = [drop(a.ocids, b.ocids) for a, b in pairwise(profiles)]
    tolerance = learn(losses, OCIDS, _slack(before.ocids))
    loss = drop(before.ocids, after.ocids)
    measure = _share(ALL, before.ocids, after.ocids, loss, tolerance)
    if before.ocids and after.ocids >= GROWTH * before.ocids:
        sentence = f"{after.ocids:,} ocids, where the published version has {before.ocids:,}: look for doubles."
        return Measure(ALL, measure.before, measure.after, loss, tolerance, Outcome.WARN, sentence)
    return measure


def _dated(profiles: Sequence[Profile], after: Profile) -> Iterable[Measure]:
    """Ocids whose date names a year: a publisher who breaks the dates leaves readers without files by year."""
    before = profiles[-1]
    if before.dated is None or after.dated is None:
        return
    losses = [drop(a.dated, b.dated) for a, b in pairwise(profiles) if a.dated is not None and b.dated is not None]
    tolerance = learn(losses, OCIDS, _slack(before.dated))
    loss = drop(before.dated, after.dated)
    yield _share(DATED, before.dated, after.dated, loss, tolerance)


def _worst_year(profiles: Sequence[Profile], after: Profile) -> Iterable[Measure]:
    before = profiles[-1]
    worst = lost_of_year(before, after)
    if worst is None or before.years is None or after.years is None:
        return
    losses = [found[1] for a, b in pairwise(profiles) if (found := lost_of_year(a, b))]
    year, loss = worst
    what = f"ocids in {year} (and later years haven't got them)"
    yield _share(
        f"ocids in {year}", before.years[year], after.years.get(year, 0), loss, learn(losses, PARTS), what=what
    )


def _counts(profiles: Sequence[Profile], after: Profile) -> Iterable[Measure]:
    before = profiles[-1]
    for name, was in before.counts.items():
        if was < MINIMUM or name not in after.counts:
            continue
        losses = [
            drop(a.counts[name], b.counts[name])
            for a, b in pairwise(profiles)
            if name in a.counts and name in b.counts
        ]
        now = after.counts[name]
        yield _share(name, was, now, drop(was, now), learn(losses, PARTS))


def _dates(profiles: Sequence[Profile], after: Profile) -> Iterable[Measure]:
    before = profiles[-1]
    if before.date_to:
        loss = _days(after.date_to, before.date_to)
        tolerance = learn(_moves(profiles, _older), LATEST)
        outcome, sentence = Outcome.ACCEPT, ""
        if after.date_to is None:
            outcome, sentence = Outcome.BLOCK, "No release has a date, where the published version's have."
        elif loss > tolerance:
            outcome = Outcome.BLOCK if loss > LOST_DAYS else Outcome.WARN
            sentence = f"The latest release is of {after.date_to}, the published version's of {before.date_to}."
        yield Measure(
            "latest release", f"{before.date_to}", f"{after.date_to or ''}", loss, tolerance, outcome, sentence
        )
    if before.date_from and after.date_from:
        loss = _days(before.date_from, after.date_from)
        tolerance = learn(_moves(profiles, _younger), EARLIEST)
        outcome, sentence = Outcome.ACCEPT, ""
        if loss > tolerance:
            outcome = Outcome.WARN
            sentence = f"The earliest release is of {after.date_from}, the published version's of {before.date_from}."
        yield Measure(
            "earliest release", f"{before.date_from}", f"{after.date_from}", loss, tolerance, outcome, sentence
        )


def _days(first: datetime.date | None, last: datetime.date | None) -> Fraction:
    return Fraction(max((last - first).days, 0)) if first and last else Fraction(0)


def _older(before: Profile, after: Profile) -> Fraction:
    return _days(after.date_to, before.date_to)


def _younger(before: Profile, after: Profile) -> Fraction:
    return _days(before.date_from, after.date_from)


def _moves(profiles: Sequence[Profile], moved: Callable[[Profile, Profile], Fraction]) -> list[Fraction]:
    return [moved(a, b) for a, b in pairwise(profiles)]
