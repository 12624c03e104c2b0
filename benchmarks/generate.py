"""Invented compiled releases for benchmarks: as wide, nested, uneven in size, and about as compressible as real ones.

Belongs here: making a file of any size, the same for the same seed, fast: some thousand releases are made once, and
replayed with other ids, dates and amounts. Does not belong here: small examples for tests.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

TEMPLATES = 3000  # at most: small files need fewer
YEARS = range(2015, 2025)
SYLLABLES = ("ba", "ko", "ri", "ten", "mu", "la", "sor", "vi", "pe", "da", "lun", "gar", "ti", "os", "me", "cho")
SLOT = re.compile(rb"@([NYA])@|\"@A@\"")


class Inventor:
    """Draws everything from one seeded generator."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.scale = 1.0
        self.words = ["".join(self.rng.choices(SYLLABLES, k=self.rng.randint(1, 5))) for _ in range(6000)]
        self.weights = [1 / (rank + 8) for rank in range(len(self.words))]
        self.names = [self.text(3, 6).title() for _ in range(4000)]

    def text(self, least: int, most: int) -> str:
        """Words, frequent ones more often, as in any language."""
        return " ".join(self.rng.choices(self.words, self.weights, k=self.rng.randint(least, most)))

    def some(self, mean: float) -> int:
        """A number of things: most often few, sometimes very many."""
        return min(int(self.rng.expovariate(1 / mean / self.scale)), 200)

    def code(self) -> str:
        """A code of eight digits."""
        return f"{self.rng.randrange(10**8):08}"

    def date(self) -> str:
        """A time of the release's year."""
        return f"@Y@-{self.rng.randint(1, 12):02}-{self.rng.randint(1, 28):02}T{self.rng.randrange(24):02}:00:00Z"

    def value(self) -> dict[str, Any]:
        """An amount that changes in each replay."""
        return {"amount": "@A@", "currency": self.rng.choice(["ALL", "EUR", "USD"])}

    def item(self, number: int) -> dict[str, Any]:
        """A good or a service."""
        return {
            "id": f"{number + 1}",
            "description": self.text(3, 25),
            "classification": {"scheme": "CPV", "id": self.code(), "description": self.text(2, 6)},
            "quantity": self.rng.choice([1, 2, 5, 10, 12.5, 100]),
            "unit": {"name": self.rng.choice(["unit", "kg", "m2"]), "value": self.value()},
            **(
                {"deliveryLocation": {"gazetteer": {"scheme": "NUTS", "identifiers": [self.code()[:5]]}}}
                if number % 5
                else {}
            ),
        }

    def document(self, number: int) -> dict[str, Any]:
        """A document of one of the stages."""
        return {
            "id": f"doc-{number}",
            "documentType": self.rng.choice(["tenderNotice", "awardNotice", "contractSigned", "bidders"]),
            "title": self.text(2, 12),
            "url": f"https://procurement.example/documents/{self.rng.getrandbits(64):016x}.pdf",
            "datePublished": self.date(),
            "format": "application/pdf",
        }

    def reference(self) -> dict[str, Any]:
        """An organisation, referred to."""
        number = self.rng.randrange(len(self.names))
        return {"id": f"XX-REG-{number:06}", "name": self.names[number]}

    def party(self, role: str) -> dict[str, Any]:
        """An organisation in full."""
        return {
            **self.reference(),
            "identifier": {"scheme": "XX-REG", "id": self.code(), "legalName": self.rng.choice(self.names)},
            "address": {"streetAddress": self.text(2, 4), "locality": self.text(1, 1), "postalCode": self.code()[:5]},
            "contactPoint": {
                "name": self.text(2, 2).title(),
                "telephone": f"+00 {self.code()}",
                "email": f"{self.code()}@example.org",
            },
            "roles": [role],
        }

    def release(self) -> dict[str, Any]:
        """A compiled release; one in a hundred is very large."""
        self.scale = 6.0 if self.rng.random() < 0.01 else 1.0
        awards = [
            {
                "id": f"@N@-award-{number}",
                "status": "active",
                "date": self.date(),
                "title": self.text(3, 10),
                "value": self.value(),
                "suppliers": [self.reference() for _ in range(1 + self.some(0.3))],
                "items": [self.item(index) for index in range(self.some(2))],
                "documents": [self.document(index) for index in range(self.some(1))],
            }
            for number in range(self.some(1.2))
        ]
        contracts = [
            {
                "id": f"@N@-contract-{number}",
                "awardID": award["id"],
                "status": "active",
                "period": {"startDate": self.date(), "endDate": self.date()},
                "value": self.value(),
                "dateSigned": self.date(),
                "items": [self.item(index) for index in range(self.some(1))],
                "documents": [self.document(index) for index in range(self.some(1))],
                "implementation": {
                    "transactions": [
                        {"id": f"{index}", "date": self.date(), "value": self.value(), "payer": self.reference()}
                        for index in range(self.some(1))
                    ]
                },
            }
            for number, award in enumerate(awards)
            if self.rng.random() < 0.8
        ]
        tender = {
            "id": "@N@-tender",
            "title": self.text(4, 14),
            "description": self.text(10, 120),
            "status": self.rng.choice(["complete", "active", "cancelled"]),
            "procurementMethod": self.rng.choice(["open", "selective", "direct"]),
            "value": self.value(),
            "tenderPeriod": {"startDate": self.date(), "endDate": self.date()},
            "items": [self.item(index) for index in range(1 + self.some(2.5))],
            "documents": [self.document(index) for index in range(self.some(2))],
            "tenderers": [self.reference() for _ in range(self.some(2))],
            "numberOfTenderers": self.rng.randrange(9),
            "hasEnquiries": self.rng.random() < 0.3,
        }
        return {
            "ocid": "ocds-xx0000-@N@",
            "id": "ocds-xx0000-@N@-compiled",
            **({"date": self.date()} if self.rng.random() < 0.98 else {}),
            "tag": ["compiled"],
            "language": "en",
            "initiationType": "tender",
            "buyer": self.reference(),
            "parties": [self.party(role) for role in ("buyer", *["supplier"] * (1 + self.some(1.5)))],
            **(
                {"planning": {"budget": {"description": self.text(3, 9), "amount": self.value()}}}
                if self.rng.random() < 0.6
                else {}
            ),
            "tender": tender,
            **({"awards": awards} if awards else {}),
            **({"contracts": contracts} if contracts else {}),
        }


def write(path: Path, size: int, seed: int = 1) -> int:
    """Write about `size` bytes of releases, one a line, and return how many releases they are."""
    inventor = Inventor(seed)
    rng = inventor.rng
    templates: list[tuple[list[bytes], list[tuple[int, bytes]]]] = []
    for _ in range(min(TEMPLATES, 20 + size // 20_000)):
        text = json.dumps(inventor.release(), ensure_ascii=False).encode() + b"\n"
        pieces, slots, at = [], [], 0
        for match in SLOT.finditer(text):
            pieces += [text[at : match.start()], b""]
            slots.append((len(pieces) - 1, match[1] or b"A"))
            at = match.end()
        templates.append(([*pieces, text[at:]], slots))
    amounts = [b"%d.%02d" % (int(10 ** rng.uniform(2, 7)), rng.randrange(100)) for _ in range(4096)]
    count = written = 0
    with path.open("wb") as file:
        while written < size:
            draw = rng.getrandbits(62)
            template, slots = templates[draw % len(templates)]
            pieces = template[:]
            values = {b"N": b"%08d" % count, b"Y": b"%d" % YEARS[(draw >> 14) % len(YEARS)]}
            for index, (slot, kind) in enumerate(slots):
                pieces[slot] = values.get(kind) or amounts[(draw >> 20) + index & 4095]
            line = b"".join(pieces)
            written += file.write(line)
            count += 1
    return count


def main() -> None:
    """Write a file from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--mb", type=float, default=480, help="size in millions of bytes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{write(options.path, int(options.mb * 1e6), options.seed)} releases")


if __name__ == "__main__":
    main()
