"""The registry's own spiders: their names, their arguments, and what each argument may be.

Belongs here: what must be known before a crawl starts, so that a wrong name or argument is refused at once. Does not
belong here: Scrapy, which is only imported by the process of a crawl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from registry_resources.exceptions import UnexpectedError
from registry_resources.redaction import redact

# The arguments of each spider, with what they mean. The first one is required.
SPIDERS: Mapping[str, Mapping[str, str]] = {
    "bulk": {
        "urls": "URLs, paths or globs, separated by white space or as a JSON list",
        "sample": "how many documents to collect, for a trial",
    },
    "links_next": {
        "url": "the URL of the first page",
        "next_path": "where a page gives the next one's URL, in keys joined by dots (default links.next)",
        "sample": "how many pages to collect, for a trial",
    },
}
# What makes a crawl partial, in the registry's spiders and in Kingfisher Collect's (DEF-14).
PARTIAL_ARGUMENTS = ("sample", "from_date", "until_date")


def check_arguments(spider: str, arguments: Mapping[str, str]) -> None:
    """Check the name of a spider and its arguments.

    Raises:
        UnexpectedError: if there is no such spider, or an argument is unknown, missing or malformed.
    """
    if spider not in SPIDERS:
        raise UnexpectedError(
            unknown_spider(spider, SPIDERS, "KINGFISHER_COLLECT_DIR isn't set, so its spiders can't run.")
        )
    known = SPIDERS[spider]
    if unknown := sorted(set(arguments) - set(known)):
        listed = "; ".join(f"{name}: {meaning}" for name, meaning in known.items())
        raise UnexpectedError(
            f"The spider {spider} has no argument {', '.join(map(repr, unknown))}. It has {listed}. "
            "Correct spider_arguments of the publication."
        )
    required = next(iter(known))
    if not arguments.get(required, "").strip():
        raise UnexpectedError(
            f"The spider {spider} needs the argument {required} ({known[required]}). "
            "Add it to spider_arguments of the publication."
        )
    if spider == "bulk":
        split_urls(arguments["urls"])
    elif not re.match(r"https?://", arguments["url"].strip()):
        raise UnexpectedError(
            f"url of the spider links_next is {redact(arguments['url'])!r}. It must begin with http:// or https://."
        )
    if "sample" in arguments and sample_size(arguments) is None:
        raise UnexpectedError(
            f"sample of the spider {spider} is {arguments['sample']!r}. It must be a whole number from 1 up."
        )


def check_key(key: str) -> None:
    """Check a publication's key, which becomes the name of a folder.

    Raises:
        UnexpectedError: if it isn't one.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,190}", key, re.ASCII):
        raise UnexpectedError(f"{key!r} is not the key of a publication (lower-case letters, digits and _).")


def unknown_spider(spider: str, known: Mapping[str, object] | list[str], hint: str = "") -> str:
    """The message about a spider that doesn't exist."""
    names = sorted(known)
    listed = ", ".join(names[:200]) + (f" and {len(names) - 200} more" if len(names) > 200 else "")
    return (
        f"There is no spider {spider!r}. There are: {listed or 'none'}. {hint}{' ' if hint else ''}"
        "Correct the publication's source_id."
    )


def is_sample(arguments: Mapping[str, str]) -> bool:
    """Whether a crawl collects a sample only. To Kingfisher Collect, `false` and 0 ask for none."""
    return str(arguments.get("sample") or "").strip() not in {"", "false", "0"}


def sample_size(arguments: Mapping[str, str]) -> int | None:
    """The argument `sample` as a number, or None if it isn't one."""
    text = arguments.get("sample", "").strip()
    return int(text) if re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) else None


def split_urls(text: str) -> list[str]:
    """The sources of the argument `urls`: a JSON list, or words separated by white space.

    Raises:
        UnexpectedError: if it is neither, or a URL's scheme isn't http, https or file.
    """
    text = text.strip()
    if text.startswith("["):
        try:
            sources = json.loads(text)
        except ValueError:
            sources = text.split()  # a glob such as [ab]*.json
    else:
        sources = text.split()
    if not isinstance(sources, list) or not all(isinstance(source, str) and source for source in sources):
        raise UnexpectedError("urls of the spider bulk is a JSON list with something else than texts in it.")
    for source in sources:
        scheme, separator, _ = source.partition("://")
        if separator and scheme.lower() not in {"http", "https", "file"}:
            raise UnexpectedError(
                f"urls of the spider bulk has {redact(source)!r}. Only http, https and file URLs, paths and globs do."
            )
    return sources
