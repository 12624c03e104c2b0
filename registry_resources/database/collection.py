"""The model of publications.

Belongs here: the fields of a publication, their defaults and constraints, and what follows from them alone.
Does not belong here: whether it is due, which is a rule of the process manager's.
"""

import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from registry_resources.database import choices
from registry_resources.database.base import NEVER_REUSED, Base, Identified, Timestamped, json_object
from registry_resources.database.license import License
from registry_resources.database.settings_bundle import SettingsBundle
from registry_resources.database.translation import Translated
from registry_resources.database.types import Choice, choice_check, clean
from registry_resources.database.validation import check_key, key_check, url_check

if TYPE_CHECKING:
    from registry_resources.database.job import Job


class Collection(Identified, Timestamped, Translated, Base):
    """A publication: what users call a collection (CAT-01).

    The texts `description`, `description_long`, `additional_data`, `summary` and `no_data_rationale` are Markdown
    (CAT-03). Texts that end in `_en`, `_es` and `_ru` are read with `text(name, language)` (CAT-04).

    Attributes:
        key: its name in partitions, folders and on the command line. By default the `source_id`. It can't change once
            there are jobs.
        title: without the country's name, not translated (CAT-02).
        country_flag: the file name of a flag, or "" (CAT-05).
        language_en: the languages used in the data, in English, free text (CAT-06).
        update_frequency: the publisher's (CAT-07).
        retrieval_frequency: the registry's, or "" (CAT-08).
        last_reviewed: when the quality summary was last reviewed (CAT-09).
        license_custom: the licence, if other than the one the data states (CAT-10).
        publication_policy: URL. Filled by a successful job if empty (CAT-11).
        source_id: the spider's name (CAT-12).
        spider_arguments: text by name.
        incremental: whether a crawl is partial by design, so that a partial one is no failure (DEF-14).
        active_job: the job whose exports are published: a successful job of this publication (CAT-13).
        last_retrieved: when the data was last collected by a successful job (CAT-14).
        frozen: whether no new jobs are scheduled (CAT-15).
        public: whether anonymous users can see it (CAT-16).
        history: what its latest versions held when they were published, by the job's id: what a new one is judged by
            (ASK-03). It outlives those jobs.
        no_data_rationale_en: why there is no data, in English (CAT-17).
        date_from: instead of the job's; likewise `date_to` and `ocid_prefix` (CAT-18).
    """

    Region = choices.Region
    RetrievalFrequency = choices.RetrievalFrequency
    UpdateFrequency = choices.UpdateFrequency

    TRANSLATED = (
        "description",
        "description_long",
        "country",
        "additional_data",
        "language",
        "summary",
        "no_data_rationale",
    )

    __tablename__ = "collection"
    __table_args__ = (
        # The job's publication is part of the reference, so the active job can't be one of another publication.
        ForeignKeyConstraint(
            ["active_job_id", "id"], ["job.id", "job.collection_id"], ondelete="RESTRICT", use_alter=True
        ),
        key_check(),
        url_check("source_url"),
        choice_check("region", choices.Region, blank=True),
        choice_check("update_frequency", choices.UpdateFrequency),
        choice_check("retrieval_frequency", choices.RetrievalFrequency, blank=True),
        CheckConstraint("title <> ''", name="title_filled"),
        CheckConstraint("source_id <> ''", name="source_id_filled"),
        CheckConstraint("date_from <= date_to", name="dates_ordered"),
        NEVER_REUSED,
    )

    key: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    description_en: Mapped[str | None]
    description_es: Mapped[str | None]
    description_ru: Mapped[str | None]
    description_long_en: Mapped[str | None]
    description_long_es: Mapped[str | None]
    description_long_ru: Mapped[str | None]
    country_en: Mapped[str | None]
    country_es: Mapped[str | None]
    country_ru: Mapped[str | None]
    country_flag: Mapped[str] = mapped_column(default="")
    region: Mapped[choices.Region | Literal[""]] = mapped_column(Choice(choices.Region), default="")
    additional_data_en: Mapped[str | None]
    additional_data_es: Mapped[str | None]
    additional_data_ru: Mapped[str | None]
    language_en: Mapped[str | None]
    language_es: Mapped[str | None]
    language_ru: Mapped[str | None]
    update_frequency: Mapped[choices.UpdateFrequency] = mapped_column(
        Choice(choices.UpdateFrequency), default=choices.UpdateFrequency.UNKNOWN
    )
    summary_en: Mapped[str | None]
    summary_es: Mapped[str | None]
    summary_ru: Mapped[str | None]
    last_reviewed: Mapped[datetime.date | None]
    license_custom_id: Mapped[int | None] = mapped_column(ForeignKey("license.id", ondelete="RESTRICT"), index=True)
    publication_policy: Mapped[str] = mapped_column(default="")
    source_url: Mapped[str] = mapped_column(default="")
    source_id: Mapped[str]
    spider_arguments: Mapped[dict[str, str]] = json_object()
    incremental: Mapped[bool] = mapped_column(default=False)
    retrieval_frequency: Mapped[choices.RetrievalFrequency | Literal[""]] = mapped_column(
        Choice(choices.RetrievalFrequency), default=""
    )
    settings_bundle_id: Mapped[int | None] = mapped_column(
        ForeignKey("settings_bundle.id", ondelete="SET NULL"), index=True
    )
    active_job_id: Mapped[int | None] = mapped_column(unique=True)
    last_retrieved: Mapped[datetime.date | None]
    frozen: Mapped[bool] = mapped_column(default=False)
    no_data_rationale_en: Mapped[str | None]
    no_data_rationale_es: Mapped[str | None]
    no_data_rationale_ru: Mapped[str | None]
    public: Mapped[bool] = mapped_column(default=False)
    date_from: Mapped[datetime.date | None]
    date_to: Mapped[datetime.date | None]
    ocid_prefix: Mapped[str] = mapped_column(default="")
    # Of thousands of publications it would be much to load, and only publishing looks at it.
    history: Mapped[dict[str, Any]] = json_object(server_default="{}", deferred=True)

    license_custom: Mapped[License | None] = relationship()
    settings_bundle: Mapped[SettingsBundle | None] = relationship(back_populates="collections")
    active_job: Mapped["Job | None"] = relationship(
        primaryjoin="Collection.active_job_id == Job.id", foreign_keys=[active_job_id], post_update=True
    )
    jobs: Mapped[list["Job"]] = relationship(
        back_populates="collection",
        primaryjoin="Collection.id == Job.collection_id",
        foreign_keys="Job.collection_id",
        order_by="Job.id",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    def __init__(self, **values: Any) -> None:
        if "source_id" in values:
            values.setdefault("key", values["source_id"])
        super().__init__(**values)

    @validates("key")
    def _check_key(self, _: str, value: str) -> str:
        return check_key(value)

    @validates("spider_arguments")
    def _check_arguments(self, _: str, value: dict[str, str]) -> dict[str, str]:
        if not all(isinstance(text, str) for item in value.items() for text in item):
            raise ValueError("Spider arguments are texts by name: write numbers and lists as text.")
        return {clean(name): clean(text) for name, text in value.items()}

    @property
    def effective_date_from(self) -> datetime.date | None:
        """The first date of the data: this publication's, or else its active job's (CAT-18)."""
        return self.date_from or (self.active_job.date_from if self.active_job else None)

    @property
    def effective_date_to(self) -> datetime.date | None:
        """The last date of the data: this publication's, or else its active job's (CAT-18)."""
        return self.date_to or (self.active_job.date_to if self.active_job else None)

    @property
    def effective_ocid_prefix(self) -> str:
        """The prefix of ocids: this publication's, or else its active job's, or "" (CAT-18)."""
        return self.ocid_prefix or (self.active_job.ocid_prefix if self.active_job else "")

    @property
    def effective_publication_policy(self) -> str:
        """The URL of the policy: this publication's, or else its active job's, or "" (CAT-11)."""
        return self.publication_policy or (self.active_job.publication_policy if self.active_job else "")

    @property
    def effective_license_url(self) -> str:
        """The URL of the licence: the chosen one's, or else the one the data states, or "" (CAT-10)."""
        if self.license_custom:
            return self.license_custom.url
        return self.active_job.license if self.active_job else ""

    def __str__(self) -> str:
        return self.key
