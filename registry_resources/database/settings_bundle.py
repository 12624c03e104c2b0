"""The models of settings bundles.

Belongs here: named sets of Scrapy settings that publications share. Does not belong here: the registry's own settings,
or resolving `env:NAME` values, which happens only where a crawl is started.
"""

from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from registry_resources.database.base import NEVER_REUSED, Base, Identified, Timestamped

if TYPE_CHECKING:
    from registry_resources.database.collection import Collection


class SettingsBundle(Identified, Timestamped, Base):
    """A named set of settings, shared between publications (CAT-19).

    Attributes:
        name: what the catalogue file calls it.
        settings: ordered by key.
        collections: the publications that use it. Deleting the bundle leaves them without one.
    """

    __tablename__ = "settings_bundle"
    __table_args__ = (CheckConstraint("name <> ''", name="name_filled"), NEVER_REUSED)

    name: Mapped[str] = mapped_column(unique=True)
    settings: Mapped[list["Setting"]] = relationship(
        back_populates="bundle", order_by="Setting.key", cascade="all, delete-orphan", passive_deletes=True
    )
    collections: Mapped[list["Collection"]] = relationship(back_populates="settings_bundle", passive_deletes=True)

    def __str__(self) -> str:
        return self.name


class Setting(Identified, Timestamped, Base):
    """One Scrapy setting (CAT-19).

    Attributes:
        key: its name, unique in the bundle.
        value: its value, which may be blank, or `env:NAME`: the environment variable that holds it, so that a secret
            is in neither the catalogue file nor the database.
    """

    __tablename__ = "setting"
    __table_args__ = (
        UniqueConstraint("bundle_id", "key"),
        CheckConstraint("key <> ''", name="key_filled"),
        NEVER_REUSED,
    )

    bundle_id: Mapped[int] = mapped_column(ForeignKey("settings_bundle.id", ondelete="CASCADE"))
    key: Mapped[str]
    value: Mapped[str] = mapped_column(default="")
    bundle: Mapped["SettingsBundle"] = relationship(back_populates="settings")

    def __str__(self) -> str:
        """Give `key=value`, as Scrapyd wants it (CAT-19). Not for logs: the value may be a secret."""
        return f"{self.key}={self.value}"

    def __repr__(self) -> str:
        return f"Setting(key={self.key!r})"
