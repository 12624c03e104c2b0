"""The collect task: runs a crawl, and judges it (COL-*).

Does not belong here: how crawls run (`registry_resources.collect`), or the rules (`rules.acceptance`).
"""

from __future__ import annotations

RESTARTS = 1
"""How often a crawl that was lost is tried anew within one attempt of the task (ASK-04)."""
