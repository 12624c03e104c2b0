"""The model of licences.

Belongs here: the terms under which publications can be used. Does not belong here: licences as publishers' packages
state them, which are a job's (`Job.license`).
"""

import re
import secrets
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column, validates

from registry_resources.database.base import NEVER_REUSED, Base, Identified, Timestamped
from registry_resources.database.translation import Translated
from registry_resources.database.validation import check_key, key_check, url_check


class License(Identified, Timestamped, Translated, Base):
    """A licence (CAT-10). A publication's licence can't be deleted (DEF-17).

    Attributes:
        key: what the catalogue file calls it. By default made of its English name.
        name_en: its name, in English; `name_es` and `name_ru` likewise. May be blank.
        description_en: Markdown, in English; `description_es` and `description_ru` likewise. May be blank.
        url: where it can be read, or "".
    """

    __tablename__ = "license"
    __table_args__ = (key_check(), url_check("url"), NEVER_REUSED)

    TRANSLATED = ("name", "description")

    key: Mapped[str] = mapped_column(unique=True)
    name_en: Mapped[str | None]
    name_es: Mapped[str | None]
    name_ru: Mapped[str | None]
    description_en: Mapped[str | None]
    description_es: Mapped[str | None]
    description_ru: Mapped[str | None]
    url: Mapped[str] = mapped_column(default="")

    def __init__(self, **values: Any) -> None:
        values.setdefault("key", _key(values.get("name_en") or ""))
        super().__init__(**values)

    @validates("key")
    def _check_key(self, _: str, value: str) -> str:
        return check_key(value)

    def __str__(self) -> str:
        return self.text("name") or self.key


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:100] or f"license_{secrets.token_hex(4)}"
