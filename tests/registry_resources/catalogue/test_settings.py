"""Settings bundles when they are used."""

from __future__ import annotations

import pytest

from registry_resources import redaction
from registry_resources.catalogue import resolve_settings
from registry_resources.database import Setting, SettingsBundle
from registry_resources.exceptions import ConfigurationError
from registry_resources.redaction import redact


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())
    monkeypatch.setattr(redaction, "_pattern", None)


def bundle(**settings: str) -> SettingsBundle:
    return SettingsBundle(name="slow", settings=[Setting(key=key, value=value) for key, value in settings.items()])


def test_references_become_what_the_environment_holds():
    """Only where they are used; other values stay (DEF-12)."""
    settings = resolve_settings(bundle(A="env:TOKEN", B="2", C="", D="env: SPACED"), {"TOKEN": "x", "SPACED": ""})
    assert settings == {"A": "x", "B": "2", "C": "", "D": ""}
    assert resolve_settings(None, {}) == {}


def test_variables_that_are_missing_are_all_named():
    """With the remedy."""
    with pytest.raises(ConfigurationError, match=r"slow refers to ONE, TWO, which .* Set it where the registry runs"):
        resolve_settings(bundle(A="env:ONE", B="env:TWO", C="env:THREE"), {"THREE": "3"})


def test_resolved_secrets_are_hidden_from_then_on():
    """Those of the environment always, those of the bundle by their name; others are no secrets (I6)."""
    resolve_settings(bundle(A="env:TOKEN", CF_CLEARANCE="canary-two", LOG_LEVEL="WARNING"), {"TOKEN": "canary-one"})
    assert redact("canary-one canary-two WARNING") == "*** *** WARNING"
