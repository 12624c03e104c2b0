"""When a version may take the place of the published one: boundaries by hand, and any history against a model."""

from __future__ import annotations

import datetime
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_assets.process_manager.rules.activation import Outcome, Verdict, Version, judge
from registry_assets.process_manager.rules.profile import Profile

ACCEPT, WARN, BLOCK = Outcome.ACCEPT, Outcome.WARN, Outcome.BLOCK
DAY = datetime.date(2026, 6, 30)


def sizes(*ocids: int) -> list[Version]:
    """Versions of which only the number of ocids is known."""
    return [Version(Profile(number)) for number in ocids]


def outcome(candidate: int, *history: int) -> Outcome:
    return judge(Profile(candidate), sizes(*history)).outcome


def by_year(candidate: dict[int, int], before: dict[int, int], undated: tuple[int, int] = (0, 0)) -> Verdict:
    return judge(
        Profile(sum(candidate.values()) + undated[1], years=candidate),
        [Version(Profile(sum(before.values()) + undated[0], years=before))],
    )


def test_the_first_version_is_never_blocked() -> None:
    """ASK-03: there is nothing to compare it with, whatever it holds."""
    for ocids in (0, 1, 10**9):
        verdict = judge(Profile(ocids, years={}, counts={"tenders": 0}), [])
        assert (verdict.outcome, verdict.versions) == (ACCEPT, 0)
        assert "first version" in verdict.sentence


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1000, 1000, ACCEPT),
        (1000, 950, ACCEPT),  # 5% exactly
        (1000, 949, WARN),
        (1000, 900, WARN),  # 10% exactly
        (1000, 899, BLOCK),
        (1000, 500, BLOCK),
        (1000, 0, BLOCK),
        (10**17, 9 * 10**16, WARN),
        (10**17, 9 * 10**16 - 1, BLOCK),
        (1000, 2999, ACCEPT),
        (1000, 3000, WARN),  # three times exactly
        (1, 3, WARN),
    ],
)
def test_without_a_history_a_tenth_may_go(before: int, after: int, expected: Outcome) -> None:
    """The floor: above 10% blocks, above 5% warns, strictly; three times as much warns, and growth never blocks."""
    assert outcome(after, before) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(2, 1, BLOCK), (3, 2, WARN), (4, 2, BLOCK), (5, 3, WARN), (5, 2, BLOCK), (10, 7, WARN), (10, 6, BLOCK)],
)
def test_of_a_handful_three_may_go_but_never_half(before: int, after: int, expected: Outcome) -> None:
    """One of three ocids is a third of them, and no reason to wake anybody."""
    assert outcome(after, before) == expected


def test_what_was_lost_once_is_not_learnt() -> None:
    """Though somebody accepted a loss of 30%, the next one is theirs to judge again."""
    history = sizes(1000, 1000, 700)
    history[-1] = Version(history[-1].profile, overridden=True)
    assert judge(Profile(500), history).outcome == BLOCK


def test_what_was_lost_twice_is_learnt() -> None:
    """A publisher that keeps some years only: from the third time on it is usual, and half as much again is too."""
    assert outcome(560, 1000, 800, 1000, 800) == WARN  # 30% of 800, exactly one and a half times 20%
    assert outcome(559, 1000, 800, 1000, 800) == BLOCK
    assert outcome(680, 850, 680, 850, 680, 800) == ACCEPT  # 15%, half of what is tolerated


def test_a_history_of_large_losses_never_excuses_half() -> None:
    """The ceiling: 40%."""
    assert outcome(600, 1000, 300, 1000, 300, 1000) == WARN
    assert outcome(599, 1000, 300, 1000, 300, 1000) == BLOCK


def test_only_the_twelve_latest_versions_teach() -> None:
    """What a publisher did years ago says little."""
    old = (1000, 800, 1000, 800)
    assert outcome(750, *old, *[1000] * 8) == WARN
    assert outcome(750, *old, *[1000] * 11) == BLOCK


def test_small_steps_warn_once_a_quarter_has_gone() -> None:
    """Each of them is below 10%. Since somebody accepted a version, only what went after that counts."""
    history = sizes(1000, 910, 830, 760)
    assert judge(Profile(750), history).outcome == ACCEPT  # a quarter exactly
    verdict = judge(Profile(749), history)
    assert verdict.outcome == WARN
    assert "an earlier version had 1,000" in verdict.sentence
    history[-1] = Version(history[-1].profile, overridden=True)
    assert judge(Profile(749), history).outcome == ACCEPT


def test_half_a_dataset_that_was_read_to_its_clean_end_is_blocked() -> None:
    """DEF-06: the newest half of an API that pages back in time, or the oldest of one that pages forward."""
    full = {2021: 1000, 2022: 1000, 2023: 1000, 2024: 1000}
    for half in ({2023: 1000, 2024: 1000}, {2021: 1000, 2022: 1000}):
        verdict = by_year(half, full)
        assert verdict.outcome == BLOCK
        assert verdict.sentence.startswith("2,000 ocids, where the published version has 4,000: 50% fewer (10% would")


def test_a_year_that_is_missing_between_others_blocks_though_little_of_the_whole_is() -> None:
    """A file of one year that was not there, as with 8% of all ocids."""
    full = dict.fromkeys(range(2012, 2025), 1000) | {2018: 1001}
    verdict = by_year({**full, 2018: 500}, full)
    assert verdict.outcome == BLOCK
    assert "500 ocids in 2018 (and later years haven't got them), where the published version has 1,001" in (
        verdict.sentence
    )
    assert by_year({**full, 2018: 501}, full).outcome == WARN
    newest = by_year({**full, 2024: 0}, full)
    assert newest.outcome == BLOCK
    assert "0 ocids in 2024" in newest.sentence


def test_processes_that_go_on_move_to_later_years() -> None:
    """A compiled release has the date of its latest release. On New Year, some publishers date everything anew."""
    before = {2023: 1000, 2024: 1000, 2025: 1000}
    for after in ({2026: 3000}, {2023: 10, 2025: 2990}, {2023: 900, 2024: 400, 2025: 1700}):
        assert by_year(after, before).outcome == ACCEPT


def test_the_oldest_years_may_go() -> None:
    """As where a publisher keeps some years only; all ocids together tell whether that is too much."""
    before = {2016: 60, 2017: 400, 2018: 4000, 2019: 4000}
    assert by_year({2017: 100, 2018: 4000, 2019: 4100}, before).outcome == ACCEPT
    assert by_year({2018: 4000, 2019: 4000}, before).outcome == WARN


def test_small_years_are_not_judged_by_themselves() -> None:
    """Fewer than 50 ocids, or less than 1% of all: such as the first days of January, or mistaken dates."""
    assert by_year({2024: 1000, 2025: 0}, {2024: 1000, 2025: 49}).outcome == ACCEPT
    assert by_year({2024: 1000, 2025: 0}, {2024: 1000, 2025: 50}).outcome == BLOCK
    assert by_year({2024: 10_000, 2025: 0}, {2024: 10_000, 2025: 99}).outcome == ACCEPT
    assert by_year({2024: 9_900, 2025: 0}, {2024: 9_900, 2025: 100}).outcome == BLOCK


def test_dates_that_break_block_though_no_ocid_is_lost() -> None:
    """`undated` counts as ocids, but not as ocids with a year: readers would have no files by year any more."""
    verdict = by_year({2024: 500}, {2024: 1000}, undated=(0, 500))
    assert verdict.outcome == BLOCK
    assert "500 ocids with a year, where the published version has 1,000" in verdict.sentence
    assert by_year({}, {2024: 1000}, undated=(0, 1000)).outcome == BLOCK
    assert by_year({2024: 1000}, {2024: 1000}, undated=(500, 450)).outcome == ACCEPT
    assert by_year({}, {}, undated=(500, 500)).outcome == ACCEPT


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(100, 75, ACCEPT), (100, 74, WARN), (100, 50, WARN), (100, 49, BLOCK), (49, 0, ACCEPT), (50, 0, BLOCK)],
)
def test_a_count_may_lose_half(before: int, after: int, expected: Outcome) -> None:
    """Each of the 14 counts, if there are 50 or more."""
    earlier = [Version(Profile(1000, counts={"tenders": 9, "awards": before}))]
    assert judge(Profile(1000, counts={"tenders": 9, "awards": after}), earlier).outcome == expected


@pytest.mark.parametrize(("days", "expected"), [(31, ACCEPT), (32, WARN), (365, WARN), (366, BLOCK)])
def test_the_latest_release_may_be_a_month_older(days: int, expected: Outcome) -> None:
    """One release of today that is withdrawn makes little difference; a year without data does."""
    earlier = [Version(Profile(1000, date_to=DAY))]
    assert judge(Profile(1000, date_to=DAY - datetime.timedelta(days)), earlier).outcome == expected
    assert judge(Profile(1000, date_to=DAY + datetime.timedelta(days)), earlier).outcome == ACCEPT


@pytest.mark.parametrize(("days", "expected"), [(366, ACCEPT), (367, WARN), (40_000, WARN)])
def test_an_earliest_release_that_is_younger_only_warns(days: int, expected: Outcome) -> None:
    """It may have been a mistaken date. Exactly a year, leap years too, is a publisher's that keeps some years."""
    earlier = [Version(Profile(1000, date_from=datetime.date(1905, 1, 1)))]
    after = Profile(1000, date_from=datetime.date(1905, 1, 1) + datetime.timedelta(days))
    assert judge(after, earlier).outcome == expected


def test_dates_that_are_all_gone_block() -> None:
    """And dates that were never there are no loss."""
    assert judge(Profile(1000), [Version(Profile(1000, date_to=DAY))]).outcome == BLOCK
    assert judge(Profile(1000, date_to=DAY), sizes(1000)).outcome == ACCEPT


def test_a_publication_that_is_collected_piece_by_piece_is_never_blocked() -> None:
    """DEF-14: its versions are parts, so their size says little: it is told, and nobody is woken."""
    verdict = judge(Profile(10), sizes(1000), incremental=True)
    assert verdict.outcome == WARN
    assert verdict.sentence.startswith("10 ocids, where the published version has 1,000")


def test_a_verdict_spells_out_three_reasons_and_counts_the_others() -> None:
    """I8: all of them are among its measures."""
    counts = {f"count {i}": 1000 for i in range(14)}
    verdict = judge(Profile(10, counts=dict.fromkeys(counts, 1)), [Version(Profile(1000, counts=counts))])
    assert verdict.sentence.endswith("And 12 more.")
    assert sum(measure.outcome == BLOCK for measure in verdict.measures) == 15


def test_a_profile_survives_json() -> None:
    """It is kept with the job."""
    for profile in (
        Profile(3, {2024: 1, 2023: 2}, {"tenders": 3}, DAY, DAY),
        Profile(0),
        Profile(5, {}),
    ):
        assert Profile.from_json(profile.to_json()) == profile


# The model: written from the documentation, in integers, with one loop over everything.

NAMES = ("tenders", "awards")


def profile(random: Random, most: int) -> Profile:
    years = {year: random.randint(0, most) for year in range(2019, 2025) if random.random() < 0.7}
    counts = {name: random.randint(0, most) for name in NAMES if random.random() < 0.7}
    return Profile(
        sum(years.values()) + random.randint(0, most) * random.randint(0, 1),
        years if random.random() < 0.9 else None,
        counts,
        *(random.choice([None, DAY - datetime.timedelta(random.randint(0, 1500))]) for _ in range(2)),
    )


def changed(random: Random, before: Profile) -> Profile:
    """A version much like the one before: everything within 60% of what it was."""

    def vary(n: int) -> int:
        return n * random.randint(40, 130) // 100 if random.random() < 0.5 else n

    years = None if before.years is None else {year: vary(n) for year, n in before.years.items()}
    return Profile(
        vary(before.ocids) if years is None else sum(years.values()) + random.randint(0, 10),
        years,
        {name: vary(n) for name, n in before.counts.items()},
        before.date_from and before.date_from + datetime.timedelta(random.choice([0, 0, 366, 367, 800])),
        before.date_to and before.date_to + datetime.timedelta(random.choice([7, -31, -32, -365, -366])),
    )


def versions(seed: int) -> list[Profile]:
    """Up to 14 versions. Numbers from one seed: hypothesis would take a minute to choose each by itself."""
    random = Random(seed)
    found = [profile(random, random.choice([5, 120, 3000]))]
    for _ in range(random.randint(0, 13)):
        found.append(changed(random, found[-1]) if random.random() < 0.8 else profile(random, 3000))
    return found


def lost(a: int, b: int) -> tuple[int, int]:
    """A loss as (lost, of how many)."""
    return (a - b, a) if a > b and a > 0 else (0, 1)


def larger(x: tuple[int, int], y: tuple[int, int]) -> bool:
    return x[0] * y[1] > y[0] * x[1]


def tolerated(losses: list[tuple[int, int]], floor: tuple[int, int], ceiling: tuple[int, int]) -> tuple[int, int]:
    found = floor
    for i, loss in enumerate(losses):
        as_large = sum(not larger(loss, other) for j, other in enumerate(losses) if j != i)
        raised = (3 * loss[0], 2 * loss[1])
        if as_large and larger(raised, found):
            found = raised
    return ceiling if larger(found, ceiling) else found


def year_lost(a: Profile, b: Profile) -> tuple[int, int] | None:
    if a.years is None or b.years is None:
        return None
    worst = None
    began = False
    for year in sorted(a.years):
        was, now = a.years[year], b.years.get(year, 0)
        if was < 50 or 100 * was < a.ocids:
            continue
        if not began:  # the oldest years may go, and what is left of the last of them may be less
            began = now > 0
            continue
        elsewhere = sum(n for y, n in b.years.items() if y > year) - sum(n for y, n in a.years.items() if y > year)
        gone = max(0, min(was - now, was - now - elsewhere))
        if worst is None or larger((gone, was), worst):
            worst = gone, was
    return worst


def model(after: Profile, history: list[Version], *, incremental: bool) -> str:
    if not history:
        return "accept"
    history = history[-12:]
    shares: list[tuple[str, list[tuple[int, int] | None], tuple[int, int], tuple[int, int]]] = []
    all_of_them = [version.profile for version in history] + [after]
    steps = list(pairwise(all_of_them))
    before = all_of_them[-2]
    small = (3, before.ocids or 1)
    tenth, two_fifths, half, most = (1, 10), (2, 5), (1, 2), (9, 10)
    shares.append(("ocids", [lost(a.ocids, b.ocids) for a, b in steps], max_of(tenth, small), two_fifths))
    if before.years is not None:
        small = (3, sum(before.years.values()) or 1)
        sums = [
            None if a.years is None or b.years is None else lost(sum(a.years.values()), sum(b.years.values()))
            for a, b in steps
        ]
        shares.append(("dated", sums, max_of(tenth, small), two_fifths))
    shares.append(("year", [year_lost(a, b) for a, b in steps], half, most))
    for name in NAMES:
        if before.counts.get(name, 0) >= 50:
            of_count = [
                lost(a.counts[name], b.counts[name]) if name in a.counts and name in b.counts else None
                for a, b in steps
            ]
            shares.append((name, of_count, half, most))
    said = {"accept"}
    for _, losses, floor, ceiling in shares:
        if losses[-1] is None:
            continue
        allowed = tolerated([loss for loss in losses[:-1] if loss], floor, ceiling)
        if larger(losses[-1], allowed):
            said.add("block")
        elif larger(losses[-1], (allowed[0], 2 * allowed[1])):
            said.add("warn")
    if before.ocids and after.ocids >= 3 * before.ocids:
        said.add("warn")
    if before.date_to is not None:
        if after.date_to is None:
            said.add("block")
        else:
            back = [days(b.date_to, a.date_to) for a, b in steps]
            if back[-1][0] > 365:
                said.add("block")
            elif larger(back[-1], tolerated(back[:-1], (31, 1), (365, 1))):
                said.add("warn")
    if before.date_from and after.date_from:
        forth = [days(a.date_from, b.date_from) for a, b in steps]
        if larger(forth[-1], tolerated(forth[:-1], (366, 1), (3660, 1))):
            said.add("warn")
    recent: list[int] = []
    for version in history:
        recent = [version.profile.ocids] if version.overridden else [*recent, version.profile.ocids]
    if max(recent) > before.ocids and 4 * after.ocids < 3 * max(recent):
        said.add("warn")
    if "block" in said:
        return "warn" if incremental else "block"
    return "warn" if "warn" in said else "accept"


def max_of(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    return x if larger(x, y) else y


def days(first: datetime.date | None, last: datetime.date | None) -> tuple[int, int]:
    return (max(0, last.toordinal() - first.toordinal()), 1) if first and last else (0, 1)


@given(st.integers(0, 2**40), st.integers(0, 2**14), st.booleans())
@settings(max_examples=10_000, deadline=None)
def test_any_history_is_judged_as_the_model_does(seed: int, overridden: int, incremental: bool) -> None:
    """ASK-03, by a second implementation."""
    *earlier, after = versions(seed)
    history = [Version(profile, bool(overridden >> i & 1)) for i, profile in enumerate(earlier)]
    assert judge(after, history, incremental=incremental).outcome == model(after, history, incremental=incremental)


@given(st.integers(0, 2**40))
@settings(max_examples=1_000, deadline=None)
def test_a_version_that_holds_all_that_the_published_one_does_is_never_blocked(seed: int) -> None:
    """Growth never blocks."""
    *history, more = [*versions(seed), profile(Random(seed), 3000)]
    before = history[-1]
    extra = more.years or {}
    years = None
    if before.years is not None:
        years = {y: before.years.get(y, 0) + extra.get(y, 0) for y in range(2019, 2025)}
    grown = Profile(
        before.ocids + sum(extra.values()),
        years,
        {name: n + more.counts.get(name, 0) for name, n in before.counts.items()},
        before.date_from,
        before.date_to,
    )
    assert judge(grown, [Version(profile) for profile in history]).outcome != BLOCK
