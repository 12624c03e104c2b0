"""The acceptance of crawls and of what was merged, against models of the rules' text in whole numbers."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_assets.process_manager.rules import plausibility
from registry_assets.process_manager.rules.acceptance import rejection, warnings_for_administrators
from registry_assets.process_manager.rules.measures import Outcome
from registry_resources.collect.crawl_log import CrawlLog

many = settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))

# Around the boundaries as often as anywhere: 15 of 100, 3 of 20, 1 of 100.
COUNTS = [*range(41), *[85, 99, 100, 1_000, 8_500, 9_900, 10_000] * 6]
REASONS = ["finished", "finished", "finished", "shutdown", "cancelled", "sample", None]


def several(count: int) -> st.SearchStrategy[list[int]]:
    """So many counts out of one number, as hypothesis draws one sooner than several."""
    numbers = st.integers(0, len(COUNTS) ** count - 1)
    return numbers.map(lambda number: [COUNTS[number // len(COUNTS) ** place % len(COUNTS)] for place in range(count)])


arguments = st.fixed_dictionaries(
    {}, optional={"sample": st.sampled_from(["", "5"]), "from_date": st.just("2024-01-01")}
)


def refusal(
    *, missing: bool, reason: str | None, items: int, bad: int, given_arguments: dict[str, str], incremental: bool
) -> str | None:
    """COL-09 in its order, then DEF-14: the beginning of the sentence, or None."""
    if missing:
        return "The crawl stopped prematurely"
    if reason != "finished":
        return "The crawl wasn't finished"
    if items + bad == 0:
        return "The crawl collected no files"
    if 100 * bad > 15 * (items + bad):
        return "The crawl had a"
    if not incremental and (given_arguments.get("sample") or given_arguments.get("from_date")):
        return "The crawl was partial"
    return None


@given(counts=several(3), kind=st.integers(0, 4 * len(REASONS) - 1), left_out=arguments)
@many
def test_a_crawl_is_judged_as_the_rules_say(counts: list[int], kind: int, left_out: dict[str, str]) -> None:
    """COL-08, COL-09, COL-10, DEF-14."""
    items, errors, invalid = counts
    missing, incremental, reason = bool(kind & 1), bool(kind & 2), REASONS[kind // 4]
    bad = errors + invalid
    log = CrawlLog(
        finish_reason=reason,
        error_rate=bad / (items + bad) if items + bad else 1.0,
        items=items,
        errors=errors,
        invalid_json=invalid,
        missing_next_link=missing,
    )
    said = rejection(log, left_out, incremental=incremental)
    wanted = refusal(
        missing=missing, reason=reason, items=items, bad=bad, given_arguments=left_out, incremental=incremental
    )
    assert said is None if wanted is None else str(said).startswith(wanted)
    # Nothing else is in the log here, so these alone are reasons to warn of.
    warned = reason != "finished" or items + bad == 0 or 100 * bad > items + bad
    assert bool(warnings_for_administrators(log)) == warned


@given(several(5))
@many
def test_what_was_merged_is_judged_as_the_rules_say(counts: list[int]) -> None:
    """PRO-02, PRO-09: nothing at all is refused; losses are as for crawls."""
    ocids, lost, files, unsent, unstored = counts

    def grade(part: int, whole: int, percent: int = 15) -> Outcome:
        if 100 * part > percent * whole:
            return Outcome.BLOCK
        return Outcome.WARN if 100 * part > whole else Outcome.ACCEPT

    numbers = {
        "ocids": ocids + lost,
        "compiled_releases": ocids,
        "files": files,
        "skipped_files_unsent": unsent,
        "skipped_files": unstored,
    }
    found = {finding.check: finding.outcome for finding in plausibility.of_compiling(numbers)}
    assert (found["compiled"] == Outcome.ACCEPT) == (ocids > 0)
    assert found["merge_errors"] == grade(lost, ocids + lost, percent=50)
    expected = grade(unsent, files + unsent)
    if expected == Outcome.ACCEPT and files + unsent and 100 * unstored > files + unsent:
        expected = Outcome.WARN
    assert found["files_processed"] == expected
