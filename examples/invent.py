"""Invents the parts of contracting processes: parties, amounts, items, documents, milestones, transactions.

Belongs here: one object of the standard at a time. Does not belong here: how they make up a story (`stories`).
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from examples.countries import Country

Json = dict[str, Any]


class Inventor:
    """Invents for one country. The same random numbers give the same inventions."""

    def __init__(self, rng: random.Random, country: Country) -> None:
        self.rng = rng
        self.country = country
        self.buyers = [
            self._party(f"B-{index:03}", f"{body}, {town}", town)
            for index, (body, town) in enumerate((b, t) for b in country.bodies for t in country.towns)
        ]
        self.suppliers = [
            self._party(f"S-{index:05}", f"{family} {trade}", rng.choice(country.towns))
            for index, (family, trade) in enumerate((f, t) for f in country.families for t in country.trades)
        ]

    def _party(self, identity: str, name: str, town: str) -> Json:
        number = self.rng.randrange(10**8)
        return {
            "id": f"{self.country.prefix[5:8].upper()}-{identity}",
            "name": name,
            # Leading zeros are meant: registration numbers, postal codes and telephones are text.
            "identifier": {"scheme": "XX-INVENTED", "id": f"{number:08}", "legalName": name},
            "address": {
                "streetAddress": f"{town} {number % 97 + 1}",
                "locality": town,
                "postalCode": f"0{number % 9000 + 1000}",
                "countryName": self.country.name,
            },
            "contactPoint": {"name": f"Office {number % 7}", "telephone": f"+999 0{number % 10**6:06}"},
        }

    def reference(self, party: Json) -> Json:
        """How other objects refer to a party."""
        return {"id": party["id"], "name": party["name"]}

    def amount(self, number: float, currency: str) -> Json:
        """An amount of money with two decimals."""
        return {"amount": round(number, 2), "currency": currency}

    def period(self, start: datetime.datetime, days: int) -> Json:
        """A period that starts at a moment and lasts some days."""
        return {
            "startDate": stamp(start),
            "endDate": stamp(start + datetime.timedelta(days=days)),
            "durationInDays": days,
        }

    def items(self, count: int, currency: str) -> tuple[list[Json], float]:
        """Some items, and what they cost together."""
        rng, items, total = self.rng, [], 0.0
        for number, (name, unit, price) in enumerate(rng.choices(self.country.items, k=count), 1):
            quantity = rng.randint(1, 400)
            cost = round(price * (0.8 + 0.4 * rng.random()), 2)
            total += quantity * cost
            items.append(
                {
                    "id": str(number),
                    "description": name,
                    "quantity": quantity,
                    "classification": {"scheme": "INVENTED", "id": f"{sum(map(ord, name)) * 7919 % 10**8:08}"},
                    "unit": {"name": unit, "value": self.amount(cost, currency)},
                }
            )
        return items, total

    def documents(self, count: int, kinds: Sequence[str], when: datetime.datetime, place: str) -> list[Json]:
        """Some documents, as links to nowhere."""
        return [
            {
                "id": f"{place}-d{number}",
                "documentType": (kind := self.rng.choice(kinds)),
                "title": f"{kind} {number}",
                "url": f"http://127.0.0.1/documents/{place}/{number}.pdf",
                "datePublished": stamp(when),
                "format": "application/pdf",
                "language": self.country.language,
            }
            for number in range(1, count + 1)
        ]

    def milestones(self, count: int, kind: str, when: datetime.datetime) -> list[Json]:
        """Some milestones, a month from one another."""
        return [
            {
                "id": f"m{number}",
                "title": f"{kind} {number}",
                "type": kind,
                "dueDate": stamp(when + datetime.timedelta(days=30 * number)),
                "status": self.rng.choice(("scheduled", "met", "notMet")),
            }
            for number in range(1, count + 1)
        ]

    def transactions(
        self, count: int, total: float, currency: str, start: datetime.datetime, ends: list[Json]
    ) -> list[Json]:
        """Some payments that make up a total, from the first of two parties to the other."""
        payer, payee = ends
        return [
            {
                "id": f"x{number}",
                "source": "http://127.0.0.1/treasury",
                "date": stamp(start + datetime.timedelta(days=45 * number)),
                "value": self.amount(total / count, currency),
                "payer": payer,
                "payee": payee,
            }
            for number in range(1, count + 1)
        ]


def stamp(moment: datetime.datetime) -> str:
    """A moment as the standard writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
