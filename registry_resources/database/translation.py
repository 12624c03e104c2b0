"""Texts in several languages.

Belongs here: the languages, and how a text is looked up in one. Does not belong here: which texts a model has.
"""

from typing import ClassVar

LANGUAGES = ("en", "es", "ru")
"""The languages of the registry, the default first (CAT-04)."""


class Translated:
    """Has texts `<name>_<language>`, one column a language, each of which may be missing (CAT-04)."""

    TRANSLATED: ClassVar[tuple[str, ...]] = ()

    def text(self, name: str, language: str = LANGUAGES[0]) -> str:
        """Give a text in a language, or "" if it isn't translated.

        Args:
            name: the text's name, such as `country`.
            language: `en`, `es` or `ru`.

        Raises:
            KeyError: if the model has no such text, or the registry no such language.
        """
        if name not in self.TRANSLATED:
            raise KeyError(f"{type(self).__name__} has no translated text {name!r}. It has {self.TRANSLATED}.")
        if language not in LANGUAGES:
            raise KeyError(f"There is no language {language!r}. There are {LANGUAGES}.")
        return getattr(self, f"{name}_{language}") or ""

    def texts(self, name: str) -> dict[str, str]:
        """Give a text in every language it is translated to, by language."""
        return {language: text for language in LANGUAGES if (text := self.text(name, language))}
