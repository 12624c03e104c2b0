"""Reading YAML without YAML's surprises.

Belongs here: turning a file into nodes that know their lines, and nodes into values of a wanted type. A text is taken
as it is written: `NO`, `1.10` and `2024-01-01` stay what they are, while plain YAML makes something else of them.
Does not belong here: what a catalogue holds.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from registry_resources.catalogue.problems import CatalogueError, Problem, suggest
from registry_resources.database.choices import Choices
from registry_resources.database.translation import LANGUAGES
from registry_resources.database.types import clean
from registry_resources.exceptions import ConfigurationError

TAG = "tag:yaml.org,2002:"
MERGES = 8
"""How deep `<<` may refer to mappings with `<<`."""
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(path: Path) -> yaml.Node | None:
    """Read a file's nodes; None if it holds nothing.

    Raises:
        ConfigurationError: if it can't be read.
        CatalogueError: if it is no YAML.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be read: {error.strerror}. Give the path of a catalogue file."
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CatalogueError(str(path), [Problem(line, "This is not UTF-8. Save the file as UTF-8.")]) from None
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=LOADER)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem(line, "There is a control character here. Delete it, or write it as an escape in quotes.")
        raise CatalogueError(str(path), [problem]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = Problem(
            mark.line + 1 if mark else 1,
            f"This is not YAML: {error.problem or error.context}. Check the indentation, colons and quotes here "
            "and in the line before.",
        )
        raise CatalogueError(str(path), [problem]) from None
    except RecursionError:
        raise CatalogueError(str(path), [Problem(1, "This is nested too deeply to be a catalogue.")]) from None
    return node


class Reader:
    """Reads values from nodes, and gathers what is wrong with them. What can't be read is None, with a problem.

    Attributes:
        problems: so far.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def report(self, node: yaml.Node, message: str) -> None:
        """Note a problem at a node."""
        self.problems.append(Problem(node.start_mark.line + 1, message))

    def mapping(
        self, node: yaml.Node, what: str, known: Iterable[str] | None = None, refused: Mapping[str, str] | None = None
    ) -> dict[str, yaml.Node]:
        """Read a mapping, by its keys as they are written.

        Args:
            node: what should be one.
            what: what it is, for messages, such as `a publication`.
            known: the keys it may have; None if any.
            refused: other keys, and why each can't be there.
        """
        if not isinstance(node, yaml.MappingNode):
            self.report(node, f"This should be {what}: lines of `name: value`.")
            return {}
        found: dict[str, yaml.Node] = {}
        names = None if known is None else list(known)
        for key, value in self._own_pairs(node):
            if key.value in found:
                self.report(key, f"{key.value} is here twice. Keep one of them.")
            elif refused and key.value in refused:
                self.report(key, f"{key.value} {refused[key.value]}")
            elif names is not None and key.value not in names:
                self.report(key, f"{what[0].upper()}{what[1:]} has no {key.value}. {suggest(key.value, names)}")
            else:
                found[key.value] = value
        for key, value in self._merged_pairs(node, MERGES):
            if names is None or key.value in names:
                found.setdefault(key.value, value)
        return found

    def _own_pairs(self, node: yaml.MappingNode) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        pairs = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.report(key, "A name should be one word.")
            elif key.tag != f"{TAG}merge":
                pairs.append((key, value))
        return pairs

    def _merged_pairs(self, node: yaml.MappingNode, depth: int) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """The pairs that `<<: *anchor` brings."""
        pairs: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        for key, value in node.value:
            if key.tag != f"{TAG}merge":
                continue
            if depth == 0:
                self.report(key, "`<<` refers to too many others, one after the other. Write the lines out.")
                continue
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(other, yaml.MappingNode):
                    pairs += self._own_pairs(other) + self._merged_pairs(other, depth - 1)
                else:
                    self.report(value, "`<<` should be followed by `*name` of lines of `name: value`.")
        return pairs

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Read a list; nothing counts as an empty one."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if not is_null(node):
            self.report(node, f"This should be a list of {what}, each beginning with `- `.")
        return []

    def text(self, node: yaml.Node) -> str | None:
        """Read a text as it is written. Nothing is ""."""
        if not isinstance(node, yaml.ScalarNode):
            self.report(node, "This should be one text. For several lines, write `|` and indent the lines below.")
            return None
        if not node.tag.startswith(TAG):
            self.report(node, f"This is tagged {node.tag}. If it is a text, put it in quotes.")
            return None
        return "" if is_null(node) else clean(node.value)

    def flag(self, node: yaml.Node) -> bool | None:
        """Read yes or no."""
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{TAG}bool":
            return str(node.value).lower() in {"true", "yes", "on"}
        self.report(node, "This should be true or false, without quotes.")
        return None

    def date(self, node: yaml.Node) -> datetime.date | None:
        """Read a date. Nothing is None."""
        text = self.text(node)
        if not text:
            return None
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                return datetime.date.fromisoformat(text)
        except ValueError:
            pass
        self.report(node, f"{text} is no date. Write it like 2024-12-31.")
        return None

    def choice(self, node: yaml.Node, choices: type[Choices], *, blank: bool) -> str | None:
        """Read one of some choices."""
        text = self.text(node)
        if text is None or text in {choice.value for choice in choices} or (blank and not text):
            return text
        self.report(node, f"{text or 'Nothing'} is none of the choices. Choose one of {', '.join(choices)}.")
        return None

    def texts(self, node: yaml.Node) -> dict[str, str | None]:
        """Read a text in several languages, or in the first one if it is a plain text. A blank text is None."""
        missing: dict[str, str | None] = dict.fromkeys(LANGUAGES)
        if isinstance(node, yaml.MappingNode):
            found = self.mapping(node, "a text by language", LANGUAGES)
            return missing | {language: self.text(value) or None for language, value in found.items()}
        return missing | {LANGUAGES[0]: self.text(node) or None}

    def text_map(self, node: yaml.Node, what: str) -> dict[str, str]:
        """Read texts by name."""
        if is_null(node):
            return {}
        found = self.mapping(node, what)
        return {clean(name): self.text(value) or "" for name, value in found.items()}


def is_null(node: yaml.Node) -> bool:
    """Whether nothing is written, or `null` or `~`."""
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{TAG}null"
