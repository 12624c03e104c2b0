"""Whether a version holds enough to take the place of the one that is published (ASK-03, DEF-06).

A crawl can end cleanly with half of the data. So a version is compared with the published one, measure by measure, and
what it may lose is learnt from how earlier versions changed. Growth never blocks. Belongs here: the verdict, as a pure
function. Does not belong here: the measures (`measures.py`), where the numbers come from (`process_manager.findings`),
or what follows (`process_manager.publishing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from registry_assets.process_manager.rules import measures
from registry_assets.process_manager.rules.measures import Measure, Outcome, drop
from registry_assets.process_manager.rules.profile import Profile

REMEMBERED = 12
"""How many of the latest versions teach what is usual."""

EROSION = Fraction(1, 4)
"""What may go in small steps without a warning, since the last version that somebody accepted."""

SENTENCES = 3
"""How many reasons a verdict spells out. All are among its measures."""


@dataclass(frozen=True)
class Version:
    """An earlier version that was published.

    Attributes:
        profile: what it held.
        overridden: whether it was published because somebody accepted it.
    """

    profile: Profile
    overridden: bool = False


@dataclass(frozen=True)
class Verdict:
    """What becomes of a version, and why.

    Attributes:
        outcome: the worst of its measures'.
        sentence: for people.
        measures: every number that was compared.
        versions: how many earlier versions there were to learn from.
    """

    outcome: Outcome
    sentence: str
    measures: Sequence[Measure] = ()
    versions: int = 0


def judge(candidate: Profile, history: Sequence[Version], *, incremental: bool = False) -> Verdict:
    """Judge a version by those that were published before it.

    Args:
        candidate: what the version holds.
        history: the versions that were published, the oldest first; the last is the published one. Those that were
            deleted since are not among them.
        incremental: whether the publication is collected piece by piece, so that a version with less is no failure:
            then nothing blocks.
    """
    history = list(history)[-REMEMBERED:]
    if not history:
        return Verdict(Outcome.ACCEPT, "The first version: there is none to compare it with.")
    profiles = [version.profile for version in history]
    before = profiles[-1]
    found = [*measures.compare(profiles, candidate), *_erosion(history, candidate)]
    outcome = max((measure.outcome for measure in found), key=list(Outcome).index)
    worst = [measure for measure in found if measure.outcome == outcome and measure.sentence]
    if worst and worst[0].name == measures.ALL:  # those with a year say the same once more
        worst = [measure for measure in worst if measure.name != measures.DATED]
    said = [measure.sentence for measure in worst]
    if len(said) > SENTENCES:
        said[SENTENCES:] = [f"And {len(said) - SENTENCES} more."]
    if incremental and outcome == Outcome.BLOCK:
        outcome = Outcome.WARN
    usual = f"{candidate.ocids:,} ocids, and the published version has {before.ocids:,}: nothing is amiss."
    return Verdict(outcome, " ".join(said) or usual, tuple(found), len(history))


def _erosion(history: Sequence[Version], after: Profile) -> Iterable[Measure]:
    """What went in steps that were each small enough, since the last version that somebody accepted."""
    since = max((i for i, version in enumerate(history) if version.overridden), default=0)
    best = max(version.profile.ocids for version in history[since:])
    if best > history[-1].profile.ocids:
        loss = drop(best, after.ocids)
        outcome, sentence = Outcome.ACCEPT, ""
        if loss > EROSION:
            outcome = Outcome.WARN
            sentence = f"{after.ocids:,} ocids, where an earlier version had {best:,}: they went in steps."
        yield Measure("ocids at most", f"{best:,}", f"{after.ocids:,}", loss, EROSION, outcome, sentence)
