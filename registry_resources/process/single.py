"""Compiles an ocid that has a single release: what ocdsmerge makes of it, several times as fast.

Most publishers give one release per ocid. Then nothing is merged: fields are left out (null, empty, `omitWhenMerged`),
and an object's `id` comes first. Where there is more to it, because objects of a list share an `id`, or an `id` is an
object, this says so, and ocdsmerge does it. The tests hold the two to each other, key order included.

Belongs here: that alone. Does not belong here: deciding what is compiled.
"""

from __future__ import annotations

from typing import Any

from registry_resources.process.merge_rules import MERGE_RULES


class NotSimpleError(Exception):
    """This release needs ocdsmerge."""


def _tree() -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, rule in MERGE_RULES.items():
        node = root
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = rule
    return root


_RULES = _tree()
_NONE: dict[str, Any] = {}


def compile_single(release: dict[str, Any]) -> dict[str, Any]:
    """The compiled release of a single release.

    Raises:
        NotSimpleError: if it needs ocdsmerge.
    """
    ocid, date = release.get("ocid"), release.get("date")
    compiled = {"tag": ["compiled"], "id": f"{ocid}-{date}"}
    if date is not None:
        compiled["date"] = date
    if ocid is not None:
        compiled["ocid"] = ocid
    _copy_object(release, compiled, _RULES)
    return compiled


def _copy_object(source: dict[str, Any], target: dict[str, Any], rules: dict[str, Any]) -> bool:
    """Copy what a compiled release keeps of an object. False if there is nothing in it, not even a null."""
    found = False
    for key, value in source.items():
        rule = rules.get(key, _NONE) if rules else _NONE
        if rule == "omitWhenMerged":
            continue
        kind = type(value)
        if kind is dict and rule != "wholeListMerge":
            if value:
                inner: dict[str, Any] = {}
                if _copy_object(value, inner, rule):
                    target[key] = inner
                    found = True
        elif kind is list and rule != "wholeListMerge" and all(type(item) is dict for item in value):
            if value:
                items: list[Any] = []
                if _copy_list(value, items, rule):
                    target[key] = items
                    found = True
        else:
            found = True
            if value is not None:
                target[key] = value
    return found


def _copy_list(source: list[dict[str, Any]], target: list[Any], rules: dict[str, Any]) -> bool:
    seen: set[str] = set()
    for item in source:
        inner: dict[str, Any] = {}
        if "id" in item:
            value = item["id"]
            text = str(value)
            if text in seen or isinstance(value, dict | list):
                raise NotSimpleError
            seen.add(text)
            if value is not None:
                inner["id"] = value
        if _copy_object(item, inner, rules):
            target.append(inner)
    return bool(target)
