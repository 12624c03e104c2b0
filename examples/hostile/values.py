"""Values whose type or shape isn't what the path has elsewhere, or is what no table expects."""

from __future__ import annotations

from typing import Any

from examples.hostile.case import ABSENT, Case, raw_line, simple

MIXED = "The path has another type in another release: every value is kept."
EMPTY = "Nothing is invented: what is empty stays empty, or is left out by merging."
DEEP = "Passes, or is skipped, counted and named; the process does not crash."

# Each list is one path with a different type per release; every release is an ocid of its own.
_ONE_PATH: dict[str, tuple[str, tuple[Any, ...]]] = {
    "mixed-planning": ("planning", ({"rationale": "object"}, [{"rationale": "array"}], "text", 5, True, [], {}, None)),
    "mixed-tag": ("tag", ("tender", ["tender"], ABSENT, None, [], ["tender", "award"], "tender;award")),
    "mixed-awards": ("awards", (["None"], [{"id": "a1"}], "None", {"id": "a1"}, {"a1": {"title": "by id"}}, [[]])),
    "mixed-buyer-id": ("buyer", ({"id": {"code": "B-1"}}, {"id": "B-1"}, {"id": 1}, {"id": ["B-1"]}, "B-1", [])),
    "mixed-contract-id": ("contracts", ([{"id": "C-1"}], [{"id": 1}], [{"id": None}])),
    "mixed-method": (
        "tender",
        ({"submissionMethod": ["written"]}, {"submissionMethod": "written"}, {"submissionMethod": {"code": "w"}}),
    ),
    "mixed-documents": (
        "tender",
        (
            {"milestones": [{"id": "m1", "documents": ""}]},
            {"milestones": [{"id": "m1", "documents": {}}]},
            {"milestones": [{"id": "m1", "documents": [{"id": "d1"}]}]},
            {"milestones": [{"id": "m1", "documents": [""]}]},
            {"milestones": "none yet"},
        ),
    ),
    "mixed-changes": ("tender", ({"amendment": {"changes": [""]}}, {"amendment": {"changes": [{"property": "x"}]}})),
    "mixed-amount": (
        "x_amount",
        (10, 10.5, "10", "NO APLICA", "-", "", None, True, {"$numberLong": "10"}, [10], 10**20),
    ),
    "mixed-flag": ("x_flag", (True, "true", "yes", 1, 0, "", None)),
    "mixed-date": ("x_date", ("2021-01-01T00:00:00Z", "2021-01-01", 2014, {"$date": "2021-01-01"}, "", None)),
    "mixed-scalar-array": ("x_codes", (["a", "b"], "a", [1, 2], [{"id": "a"}], [["a"]], [None], [True, 1, "1", 1.0])),
}

_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "empty-kinds": (
        EMPTY,
        {"x_null": None, "x_list": [], "x_object": {}, "x_text": "", "x_deep": {"a": [{"b": [{}]}]}},
    ),
    "empty-members": (EMPTY, {"parties": [], "tender": {}, "awards": [{}], "contracts": None, "buyer": {"id": ""}}),
    "array-of-arrays": (MIXED, {"x_grid": [[1, 2], [3, [4, [5]]], []], "x_points": [[[0.5, 1.5], [2.5, 3.5]]]}),
    "array-mixed": (MIXED, {"x_any": [1, "a", {"id": "o"}, [], None, True, 1.5, {}, ["b"]]}),
    "array-with-nulls": (MIXED, {"parties": [None, {"id": "p1"}, None]}),
    "array-of-text-with-commas": (MIXED, {"x_tags": ["a,b", 'c"d', "", " ", "e;f", "g\nh"]}),
    "array-500": ("All 500 rows pass.", {"x_rows": [{"id": str(n), "value": n} for n in range(500)]}),
    "array-10000-numbers": ("The cell is cut in Excel only.", {"x_numbers": list(range(10_000))}),
    "ids-number-and-text": (MIXED, {"parties": [{"id": 1}, {"id": "1"}, {"id": 1.0}, {"id": "01"}, {"id": True}]}),
    "ids-missing": (
        MIXED,
        {"parties": [{"name": "without"}, {"id": None, "name": "null"}, {"id": "", "name": "empty"}]},
    ),
    "ids-repeated": (
        "Merging keeps one of each id and says how many were repeated.",
        {"parties": [{"id": "p1", "name": "first"}, {"id": "p1", "name": "second"}, {"id": "p1", "x_other": 3}]},
    ),
    "ids-repeated-across-arrays": (
        "Rows join their own parent, although the id is another's too.",
        {"awards": [{"id": "1", "items": [{"id": "1"}]}, {"id": "2", "items": [{"id": "1"}]}]},
    ),
    "parties-200": (
        "A release of about 250 KB, every party there twice, passes.",
        {
            "parties": [
                {
                    "id": f"p{n % 100}",
                    "name": f"Party number {n}",
                    "roles": ["tenderer", "supplier"],
                    "details": {"profile": f"Supplier of oddities number {n}. " * 30},
                }
                for n in range(200)
            ]
        },
    ),
    "draft-singular-award": (
        "Passes as it is.",
        {"award": [{"awardID": "a1"}], "releaseID": "r1", "releaseDate": "2015"},
    ),
    "language-codes": (
        "Passes as it is.",
        {"language": "x-quirk", "x_texts": {"en": "a", "es": "b", "": "c", "1": "d"}},
    ),
    "geometry": ("Passes as it is.", {"x_place": {"type": "Polygon", "coordinates": [[[1, 2], [3.5, 4], [1, 2]]]}}),
}


def _nested(depth: int, opening: str, closing: str) -> str:
    return f'{opening * depth}"bottom"{closing * depth}'


def _deep(name: str, depth: int, opening: str, closing: str, *, compiled: bool | None) -> Case:
    return Case(name, (raw_line(name, _nested(depth, opening, closing)),), DEEP, compiled)


CASES: tuple[Case, ...] = (
    *(
        simple(f"{name}-{number}", MIXED, **{member: value})
        for name, (member, values) in _ONE_PATH.items()
        for number, value in enumerate(values, 1)
    ),
    *(simple(name, expect, **members) for name, (expect, members) in _SHAPES.items()),
    simple(
        "id-object-in-array",
        "ocdsmerge can't match such an id: the ocid is dropped and counted, or compiles as it is.",
        compiled=None,
        contracts=[{"id": {"code": "C-1"}}],
    ),
    _deep("nested-objects-50", 50, '{"a":', "}", compiled=True),
    _deep("nested-arrays-50", 50, "[", "]", compiled=True),
    _deep("nested-objects-500", 500, '{"a":', "}", compiled=None),
    _deep("nested-objects-10000", 10_000, '{"a":', "}", compiled=None),
    _deep("nested-arrays-10000", 10_000, "[", "]", compiled=None),
    _deep("nested-both-10000", 5_000, '[{"a":', "}]", compiled=None),
)
