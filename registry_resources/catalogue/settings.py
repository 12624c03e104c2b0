"""Settings bundles when they are used: `env:NAME` values become what the environment variable holds.

Belongs here: what is secret in a bundle, and resolving it. Does not belong here: storing what was resolved.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from registry_resources.database import SettingsBundle
from registry_resources.exceptions import ConfigurationError
from registry_resources.redaction import register_secret

REFERENCE = "env:"

_SECRET_NAME = re.compile(
    r"secret|token|passw|pwd|credential|cookie|clearance|auth|api_?key|access_?key|private|proxy|_key$", re.IGNORECASE
)
_HARMLESS = re.compile(r"[0-9.]{1,6}|true|false|yes|no", re.IGNORECASE)
_LONG = 24
"""Values from this length on, in characters and without spaces, are taken for secrets whatever they are called."""


def resolve_settings(bundle: SettingsBundle | None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give a bundle's settings with `env:NAME` resolved. From then on, the secret ones are redacted everywhere.

    Args:
        bundle: the bundle, or None for no settings.
        environ: instead of `os.environ`.

    Raises:
        ConfigurationError: naming every variable that is not set.
    """
    if bundle is None:
        return {}
    env = os.environ if environ is None else environ
    resolved: dict[str, str] = {}
    missing: list[str] = []
    for setting in bundle.settings:
        name = reference(setting.value)
        if name is None:
            resolved[setting.key] = setting.value
            if is_secret(setting.key, setting.value):
                register_secret(setting.value)
        elif name in env:
            resolved[setting.key] = env[name]
            register_secret(env[name])
        else:
            missing.append(name)
    if missing:
        raise ConfigurationError(
            f"Settings bundle {bundle.name} refers to {', '.join(missing)}, which the environment doesn't have. "
            "Set it where the registry runs, or change the bundle in the catalogue file and run `registry sync`."
        )
    return resolved


def reference(value: str) -> str | None:
    """Give the variable that a value refers to, or None if it is a value."""
    return value.removeprefix(REFERENCE).strip() if value.startswith(REFERENCE) else None


def is_secret(key: str, value: str) -> bool:
    """Whether a value that stands in a bundle itself is one to hide, by its name or because it looks like a token."""
    if reference(value) is not None or not value:
        return False
    return bool(_SECRET_NAME.search(key)) or (len(value) >= _LONG and not re.search(r"\s", value))


def secret_names(settings: Mapping[str, str]) -> list[str]:
    """Give the names of the settings whose secret stands in the bundle itself."""
    return sorted(key for key, value in settings.items() if is_secret(key, value))


def shown(key: str, value: str | None) -> str | None:
    """Give a setting's value as people may see it: a reference, a small number, yes or no; else nothing of it."""
    if not value or reference(value) is not None:
        return value
    return value if _HARMLESS.fullmatch(value) and not is_secret(key, value) else "(hidden)"
