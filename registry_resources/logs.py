"""What the registry's own code logs beside Dagster's log of a run: on standard error, without secrets.

Belongs here: the handler of our packages' loggers. Does not belong here: other libraries' logs, or Dagster's.
"""

import logging
import sys
from typing import TextIO

from registry_resources.redaction import install_redaction

PACKAGES = ("registry_assets", "registry_resources", "exporter")


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever is standard error at the time: it may be replaced, as by Dagster, which keeps it per step."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # what is there an attribute
        return sys.stderr


def configure(level: str) -> None:
    """Have our packages' loggers write to standard error (`LOG_LEVEL`). Repeating it only changes the level.

    The root logger is left alone: what Dagster logs would be written twice, and SQLAlchemy would log every statement.

    Args:
        level: of the messages that are written, such as `INFO`.
    """
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        if not logger.handlers:
            handler = _StandardError()
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            logger.addHandler(handler)
            install_redaction(logger)
