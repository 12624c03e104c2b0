"""Contracting processes from plan to payment, as the releases that tell of them one after the other.

Belongs here: what happens in a process, and in which order. Does not belong here: files (`publications`).
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from examples.invent import Json, stamp

if TYPE_CHECKING:
    from examples.invent import Inventor

STAGES = ("planning", "tender", "tenderAmendment", "award", "contract", "implementation")


def tell(inventor: Inventor, number: int, start: datetime.datetime) -> list[Json]:
    """The releases of one process, one per stage, in the order of their dates: each says what is new.

    Args:
        inventor: who invents the parts.
        number: which process of the publication it is.
        start: when its planning was published.
    """
    story = _Story(inventor, number, start)
    stages = [story.planning(), story.tender()]
    if inventor.rng.random() < 0.3:
        stages.append(story.amendment())
    if inventor.rng.random() < 0.9:
        stages += [story.award(), story.contract()]
        if inventor.rng.random() < 0.7:
            stages.append(story.implementation())
    return stages


def whole(inventor: Inventor, number: int, start: datetime.datetime) -> Json:
    """One release that tells a whole process at once, as many publishers do: its date is the last stage's."""
    release: Json = {"tag": [], "parties": [], "tender": {}}
    for stage in tell(inventor, number, start):
        told = {
            "tag": [*release["tag"], *stage["tag"]],
            "parties": list(
                {party["id"]: party for party in [*release["parties"], *stage.get("parties", [])]}.values()
            ),
            "tender": {**release["tender"], **stage.get("tender", {})},
        }
        if stage["tag"] == ["implementation"]:
            told["contracts"] = [{**release["contracts"][0], **stage["contracts"][0]}]
        release = {**release, **stage, **told}
    return release


class _Story:
    """One process, while it is told."""

    def __init__(self, inventor: Inventor, number: int, start: datetime.datetime) -> None:
        rng, country = inventor.rng, inventor.country
        self.inventor, self.rng, self.now = inventor, rng, start
        self.ocid = f"{country.prefix}-{start.year}-{number:06}"
        self.place = f"{start.year}-{number:06}"
        self.buyer = rng.choice(inventor.buyers)
        self.currency = country.currencies[0] if rng.random() < 0.6 else rng.choice(country.currencies)
        self.items, self.total = inventor.items(rng.choice((1, 1, 1, 2, 2, 3, 5)), self.currency)
        self.title = rng.choice(country.titles).format(
            item=self.items[0]["description"], town=self.buyer["address"]["locality"]
        )
        self.bidders = rng.sample(inventor.suppliers, rng.choice((1, 2, 2, 3, 4)))
        self.price = self.total * (0.75 + 0.3 * rng.random())
        self.releases = 0

    def _release(self, tag: str, *roles: tuple[Json, str], **members: object) -> Json:
        """The next release, some days after the one before."""
        self.releases += 1
        release: Json = {
            "ocid": self.ocid,
            "id": f"{self.ocid}-{self.releases}",
            "date": stamp(self.now),
            "tag": [tag],
            "initiationType": "tender",
            "language": self.inventor.country.language,
            "parties": [{**party, "roles": [role]} for party, role in roles],
            "buyer": self.inventor.reference(self.buyer),
            **members,
        }
        self.now += datetime.timedelta(days=self.rng.randint(5, 40), minutes=self.rng.randint(0, 600))
        return release

    def planning(self) -> Json:
        planning = {
            "rationale": self.rng.choice(self.inventor.country.reasons),
            "budget": {
                "id": f"{self.now.year}-{self.rng.randint(1, 99):03}",
                "amount": self.inventor.amount(self.total * 1.1, self.currency),
            },
        }
        return self._release("planning", (self.buyer, "buyer"), planning=planning)

    def _tender(self, status: str) -> Json:
        return {"id": f"T-{self.place}", "title": self.title, "status": status}

    def tender(self) -> Json:
        rng, inventor = self.rng, self.inventor
        tender = {
            **self._tender("active"),
            "procurementMethod": rng.choice(("open", "open", "selective", "limited", "direct")),
            "mainProcurementCategory": rng.choice(("goods", "works", "services")),
            "procuringEntity": inventor.reference(self.buyer),
            "value": inventor.amount(self.total, self.currency),
            "tenderPeriod": inventor.period(self.now, rng.randint(10, 45)),
            "items": self.items,
            "documents": inventor.documents(
                rng.randint(0, 2), ("tenderNotice", "biddingDocuments"), self.now, self.place
            ),
            "milestones": inventor.milestones(rng.randint(0, 2), "preProcurement", self.now),
        }
        return self._release("tender", (self.buyer, "buyer"), tender=_filled(tender))

    def amendment(self) -> Json:
        change = {
            "id": "1",
            "date": stamp(self.now),
            "rationale": "The period was too short",
            "amendsReleaseID": f"{self.ocid}-{self.releases}",
            "releaseID": f"{self.ocid}-{self.releases + 1}",
        }
        period = self.inventor.period(self.now, 30)
        return self._release(
            "tenderAmendment", tender={**self._tender("active"), "tenderPeriod": period, "amendments": [change]}
        )

    def award(self) -> Json:
        inventor, winner = self.inventor, self.bidders[0]
        award = {
            "id": f"A-{self.place}",
            "title": self.title,
            "status": "active",
            "date": stamp(self.now),
            "value": inventor.amount(self.price, self.currency),
            "suppliers": [inventor.reference(winner)],
            "items": self.items,
            "documents": inventor.documents(self.rng.randint(0, 1), ("awardNotice",), self.now, f"{self.place}-a"),
        }
        tender = {
            **self._tender("complete"),
            "numberOfTenderers": len(self.bidders),
            "tenderers": [inventor.reference(bidder) for bidder in self.bidders],
        }
        roles = [(bidder, "supplier" if bidder is winner else "tenderer") for bidder in self.bidders]
        return self._release("award", *roles, tender=tender, awards=[_filled(award)])

    def contract(self) -> Json:
        inventor = self.inventor
        contract = {
            "id": f"C-{self.place}",
            "awardID": f"A-{self.place}",
            "status": "active",
            "dateSigned": stamp(self.now),
            "period": inventor.period(self.now, self.rng.choice((90, 180, 365))),
            "value": inventor.amount(self.price, self.currency),
            "items": self.items if self.rng.random() < 0.3 else [],
            "documents": inventor.documents(self.rng.randint(0, 1), ("contractSigned",), self.now, f"{self.place}-c"),
        }
        return self._release("contract", contracts=[_filled(contract)])

    def implementation(self) -> Json:
        inventor, start = self.inventor, self.now
        ends = [inventor.reference(self.buyer), inventor.reference(self.bidders[0])]
        implementation = {
            "transactions": inventor.transactions(self.rng.randint(1, 3), self.price, self.currency, start, ends),
            "milestones": inventor.milestones(self.rng.randint(0, 2), "delivery", start),
        }
        contract = {"id": f"C-{self.place}", "implementation": _filled(implementation)}
        return self._release("implementation", contracts=[contract])


def _filled(value: Json) -> Json:
    """Without the lists that came out empty, which nobody would publish."""
    return {key: item for key, item in value.items() if item != []}
