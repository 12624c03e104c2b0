"""The asset jobs. Does not belong here: what starts them."""

from __future__ import annotations

import dagster as dg

# What is short, and what others wait for, goes before the runs of publications when all places are taken: hundreds of
# them may wait for days.
FIRST = {"dagster/priority": "10"}

refresh = dg.define_asset_job(
    "refresh",
    # Without the one asset that isn't about one publication.
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets("catalogue"),
    description="Refreshes one publication: collects, compiles, exports, measures, flattens and publishes it.",
)

catalogue_document = dg.define_asset_job(
    "catalogue_document",
    selection=dg.AssetSelection.assets("catalogue"),
    tags=FIRST,
    description="Makes the document that lists everything that is published.",
)
