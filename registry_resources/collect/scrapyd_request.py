"""What is sent to Scrapyd for a crawl. Belongs here: which arguments and settings can be sent, and which never are."""

from __future__ import annotations

import re
from collections.abc import Mapping

from registry_resources.collect.backend import CrawlRequest
from registry_resources.exceptions import UnexpectedError
from registry_resources.redaction import register_secret

STEPS = "compile"
"""The steps that Kingfisher Process takes: no checks (COL-02)."""

_OF_SCRAPYD = {"project", "spider", "jobid", "setting", "priority", "_version", "_job"}
_REFUSED = {
    "keep_collection_open": "Kingfisher Process would wait for more files for ever",
    "steps": f"the registry needs {STEPS!r}",
}
_SILENT = {"WARNING", "ERROR", "CRITICAL"}
_TELLING_NOTHING = re.compile(r"[\d.,]*|[A-Za-z_.]*", re.ASCII)


def form_of(request: CrawlRequest) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The arguments and the settings to send for a crawl. From then on, the settings' values are hidden everywhere.

    Raises:
        UnexpectedError: if Scrapyd would take one for something else. The message has names, never values.
    """
    for name, value in request.arguments.items():
        if name in _OF_SCRAPYD:
            raise UnexpectedError(
                f"spider_arguments can't have {name!r}, which Scrapyd takes for itself. Remove it from {request.key}."
            )
        if name in _REFUSED and value and value != STEPS:
            raise UnexpectedError(
                f"spider_arguments can't have {name!r}: {_REFUSED[name]}. Remove it from {request.key}."
            )
        _check("spider argument", name, value)
    for name, value in request.settings.items():
        _check("setting", name, value)
        if name == "LOG_LEVEL" and value.strip().upper() in _SILENT:
            raise UnexpectedError(
                f"The setting LOG_LEVEL can't be above INFO: the crawl's log would neither name its collection in "
                f"Kingfisher Process nor tell how it ended. Correct the settings bundle of {request.key}."
            )
        if len(value) >= 8 and not _TELLING_NOTHING.fullmatch(value):
            register_secret(value)
    return {**request.arguments, "steps": STEPS}, request.settings


def _check(what: str, name: str, value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", name, re.ASCII):
        raise UnexpectedError(f"The name of the {what} {name!r} can't be sent to Scrapyd. Correct it.")
    if "\0" in value:
        raise UnexpectedError(f"The value of the {what} {name!r} has a character that can't be sent. Correct it.")
