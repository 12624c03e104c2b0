"""What is known of a job's data.

Belongs here: the columns that describe the compiled releases of one job. Does not belong here: the job's own life.
"""

import datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from registry_resources.database.base import json_object

COUNTS = (
    "tenders_count",
    "tenderers_count",
    "tenders_items_count",
    "parties_count",
    "awards_count",
    "awards_items_count",
    "awards_suppliers_count",
    "contracts_count",
    "contracts_items_count",
    "contracts_transactions_count",
    "documents_count",
    "plannings_count",
    "milestones_count",
    "amendments_count",
)
"""The 14 counts (COV-02)."""


def _count() -> Any:
    return mapped_column(BigInteger, default=0)


class JobMetadata:
    """What is known of a job's compiled releases.

    Attributes:
        coverage: the number of non-empty values, by path (COV-01). Empty until measured.
        tenders_count: how many tenders; likewise the other 13 (COV-02).
        date_from: the earliest date of a release (PRO-04).
        date_to: the latest date of a release (PRO-04).
        ocid_prefix: what the ocids begin with, or "" (PRO-04).
        license: the URL of the licence that the data states, or "" (PRO-04). The publisher's text: escape it.
        publication_policy: the URL of the policy that the data states, or "" (PRO-04). The publisher's text too.
    """

    coverage: Mapped[dict[str, Any]] = json_object()
    tenders_count: Mapped[int] = _count()
    tenderers_count: Mapped[int] = _count()
    tenders_items_count: Mapped[int] = _count()
    parties_count: Mapped[int] = _count()
    awards_count: Mapped[int] = _count()
    awards_items_count: Mapped[int] = _count()
    awards_suppliers_count: Mapped[int] = _count()
    contracts_count: Mapped[int] = _count()
    contracts_items_count: Mapped[int] = _count()
    contracts_transactions_count: Mapped[int] = _count()
    documents_count: Mapped[int] = _count()
    plannings_count: Mapped[int] = _count()
    milestones_count: Mapped[int] = _count()
    amendments_count: Mapped[int] = _count()
    date_from: Mapped[datetime.date | None]
    date_to: Mapped[datetime.date | None]
    ocid_prefix: Mapped[str] = mapped_column(default="")
    license: Mapped[str] = mapped_column(default="")
    publication_policy: Mapped[str] = mapped_column(default="")
