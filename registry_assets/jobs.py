"""The asset jobs. Does not belong here: what starts them."""

from __future__ import annotations

import dagster as dg

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all(),
    description="Refreshes one publication: collects, compiles, exports, measures, flattens and publishes it.",
)
