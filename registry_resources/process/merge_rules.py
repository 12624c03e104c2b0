"""The merge rules of OCDS 1.1.5, as a table, so that merging needs neither the network nor a copy of the schema.

Belongs here: which fields are left out of a compiled release, and which lists are replaced whole rather than merged
by their objects' `id`. They are what the merging specification (https://standard.open-contracting.org/1.1/en/schema/
merging/) says of the fields of the 1.1.5 release schema: `omitWhenMerged`; `wholeListMerge`; and lists whose items
have no `id` or aren't objects. No extension's fields are among them: a list of an extension is merged by `id`.
Does not belong here: how rules are applied, which is ocdsmerge's business.
"""

from __future__ import annotations

_OMITTED = ("date", "id", "tag")

_REPLACED = (
    "awards/amendment/changes",
    "awards/amendments/changes",
    "awards/items/additionalClassifications",
    "awards/suppliers/additionalIdentifiers",
    "buyer/additionalIdentifiers",
    "contracts/amendment/changes",
    "contracts/amendments/changes",
    "contracts/implementation/transactions/payee/additionalIdentifiers",
    "contracts/implementation/transactions/payer/additionalIdentifiers",
    "contracts/items/additionalClassifications",
    "contracts/relatedProcesses/relationship",
    "parties/additionalIdentifiers",
    "parties/roles",
    "relatedProcesses/relationship",
    "tender/additionalProcurementCategories",
    "tender/amendment/changes",
    "tender/amendments/changes",
    "tender/items/additionalClassifications",
    "tender/procuringEntity/additionalIdentifiers",
    "tender/submissionMethod",
    "tender/tenderers/additionalIdentifiers",
)

MERGE_RULES: dict[tuple[str, ...], str] = {
    **{(field,): "omitWhenMerged" for field in _OMITTED},
    **{tuple(path.split("/")): "wholeListMerge" for path in _REPLACED},
}
"""Path to rule, in ocdsmerge's words."""
