"""Mappings: what an index is made with, and whether a living one still is that. Pure."""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

META: Final = "_sluice"
"""The object in each document that is ours."""

SCHEMA: Final = 4
"""Version of what this module adds to a declared mapping."""

ROOT_PARAMETERS: Final = frozenset(
    {
        "_meta",
        "_routing",
        "_size",
        "_source",
        "date_detection",
        "dynamic",
        "dynamic_date_formats",
        "dynamic_templates",
        "enabled",
        "numeric_detection",
        "properties",
        "runtime",
        "subobjects",
    }
)
"""What may stand at the root of a mapping (Mapping parameters, Elasticsearch reference)."""

_OURS: Final[Mapping[str, Any]] = {
    "dynamic": False,
    "properties": {
        "id": {"type": "keyword"},
        "state": {"type": "keyword"},
        # Asked for by aggregation alone, and not at all.
        "label": {"type": "keyword", "index": False},
        "sequence": {"type": "keyword", "index": False, "doc_values": False},
        "time": {"type": "date", "format": "epoch_millis"},
        "read": {"type": "date", "format": "epoch_millis"},
        "key": {"type": "keyword", "index": False, "doc_values": False},
        # Verify looks at ranges of digests; without an index each would cost the whole of it.
        "digest": {"type": "keyword"},
        "indexed": {"type": "date", "format": "epoch_millis", "index": False, "doc_values": False},
    },
}

_DEFAULTS: Final[Mapping[str, Any]] = {
    "date_detection": False,
    "dynamic_templates": [
        {"sluice_long": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
        {"sluice_double": {"match_mapping_type": "double", "mapping": {"type": "double"}}},
    ],
}
"""One DynamoDB type, one Elasticsearch type: 1 and then 1.5 both fit, and text stays text even
where the first one looks like a date."""

_SETTINGS: Final[Mapping[str, Any]] = {"index.mapping.depth.limit": 40}
"""DynamoDB nests 32 deep; Elasticsearch's own limit is 20. Room for what a document adds."""

_ABSENT: Final[Mapping[str, Any]] = {
    "boost": 1.0,
    "coerce": True,
    "copy_to": [],
    "depth_limit": 20,
    "doc_values": True,
    "dynamic": "true",
    "eager_global_ordinals": False,
    "enabled": True,
    "ignore_malformed": False,
    "ignore_z_value": True,
    "include_in_parent": False,
    "include_in_root": False,
    "index": True,
    "index_phrases": False,
    "null_value": None,
    "split_queries_on_whitespace": False,
    "store": False,
    "type": "object",
}
"""What a parameter is when a cluster does not show it. It does not show defaults."""

_FREE: Final = frozenset({"_meta", "properties", "fields", "runtime"})
"""Parts of a living mapping that may hold more than was declared."""


def read_declaration(mappings: Mapping[str, Any], *, routed: bool) -> dict[str, Any]:
    """A full mapping from what the owner wrote: either one, or its properties alone.

    It is a full one if a parameter of the root is there that cannot be a field's definition.
    routed: whether the table declares a routing, so that each document is read and written with it.
    Raises ValueError, in words for the owner, for what Sluice cannot work with.
    """
    try:
        declared: dict[str, Any] = json.loads(json.dumps(mappings))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"mappings are no JSON: {error}") from error
    if not _is_full(declared):
        declared = {"properties": declared} if declared else {}
    _check_root(declared)
    if _requires_routing(declared) and not routed:
        raise ValueError(
            "mappings require a routing, but the table declares none: no document could be read or"
            " written. Name key attributes in Table(..., routing=...), or leave _routing out"
        )
    wrong = [path for path, field in walk_fields(declared) if not isinstance(field, dict)]
    if wrong:
        raise ValueError(f"mappings: no definition of a field: {', '.join(wrong):.200}")
    return declared


def make_body(
    table: str, declared: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What to create an index with: settings, and mappings with our object and the declaration."""
    text = json.dumps(dict(declared), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return copy.deepcopy(
        {
            "settings": _add_settings(settings),
            "mappings": {
                **_DEFAULTS,
                **declared,
                "properties": {**declared.get("properties", {}), META: _OURS},
                "_meta": {
                    **declared.get("_meta", {}),
                    "sluice": {"schema": SCHEMA, "table": table, "declared": text},
                },
            },
        }
    )


def compare_mappings(
    declared_body: Mapping[str, Any], live_mapping: Mapping[str, Any]
) -> list[str]:
    """Each disagreement between a declaration and a living index, in words; none: an empty list.

    declared_body: what `index_body` answers now. live_mapping: the index's mapping as the cluster
    shows it. Fields that a dynamic mapping has added are no disagreement.
    """
    declared = declared_body["mappings"]
    ours = declared["_meta"]["sluice"]
    live = (live_mapping.get("_meta") or {}).get("sluice")
    if not isinstance(live, Mapping):
        return ["it was not made by Sluice: its mapping has no _meta.sluice"]
    if live.get("schema") != ours["schema"]:
        return [
            f"_meta.sluice.schema: {ours['schema']} expected, the index has {live.get('schema')}"
        ]
    if live.get("table") != ours["table"]:
        return [f"it belongs to the table {live.get('table')!r}, not to {ours['table']!r}"]
    try:
        before = json.loads(live.get("declared", ""))
    except (TypeError, ValueError):
        return ["_meta.sluice.declared cannot be read"]
    since = [
        f"{path}: declared {_show(now)}, the index was made with {_show(then)}"
        for path, now, then in _differences(json.loads(ours["declared"]), before)
    ]
    return since or [
        f"{path}: declared {_show(wanted)}, the index has {_show(there)}"
        for path, wanted, there in _deviations(declared, live_mapping)
    ]


def walk_fields(mapping: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field below a mapping, multi-fields included, with its dotted path."""
    for part in ("properties", "fields"):
        inner = mapping.get(part, {})
        if not isinstance(inner, dict):
            yield f"{path}{part}", inner
            continue
        for name, field in inner.items():
            yield f"{path}{name}", field
            if isinstance(field, dict):
                yield from walk_fields(field, f"{path}{name}.")


def _add_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    given = set(_name_settings(settings))
    ours = {n: v for n, v in _SETTINGS.items() if not given & {n, n.removeprefix("index.")}}
    return {**ours, **settings}


def _name_settings(settings: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _name_settings(value, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def _is_full(declared: Mapping[str, Any]) -> bool:
    return any(
        name in ROOT_PARAMETERS
        and not (isinstance(value, dict) and isinstance(value.get("type"), str))
        for name, value in declared.items()
    )


def _check_root(declared: Mapping[str, Any]) -> None:
    unknown = sorted(declared.keys() - ROOT_PARAMETERS)
    if unknown:
        raise ValueError(
            f"mappings mix root parameters with {', '.join(unknown)}: put fields under 'properties'"
        )
    if META in declared.get("properties", {}):
        raise ValueError(f"mappings declare {META}, which is Sluice's own")
    if "sluice" in declared.get("_meta", {}):
        raise ValueError("mappings declare _meta.sluice, which is Sluice's own")
    if "_source" in declared:
        raise ValueError("mappings change _source: Sluice reads its own object from there")
    if declared.get("enabled", True) is not True:
        raise ValueError("mappings with enabled: false hide deleted documents from the alias")
    if declared.get("subobjects", True) is not True:
        raise ValueError(f"mappings with subobjects: false leave no room for {META}")


def _requires_routing(declared: Mapping[str, Any]) -> bool:
    routing = declared.get("_routing")
    return isinstance(routing, dict) and _normal(routing.get("required")) == "true"


def _differences(now: Any, then: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, as deep as both are objects."""
    if isinstance(now, dict) and isinstance(then, dict):
        for name in sorted(now.keys() | then.keys()):
            below = f"{path}.{name}" if path else name
            yield from _differences(now.get(name), then.get(name), below)
    elif now != then:
        yield path or "mappings", now, then


def _deviations(
    declared: Mapping[str, Any], live: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Where a living mapping is not what its own declaration made it."""
    for name in sorted((declared.keys() | (live.keys() & _ABSENT.keys())) - _FREE):
        wanted = declared.get(name, _ABSENT.get(name))
        there = live.get(name, _ABSENT.get(name))
        known = name in _ABSENT or (name in declared and name in live)
        if known and _normal(wanted) != _normal(there):
            yield f"{path}{name}", wanted, there
    for part in ("properties", "fields", "runtime"):
        inner = live.get(part, {})
        for name, field in declared.get(part, {}).items():
            if name in inner:
                yield from _deviations(field, inner[name], f"{path}{name}.")
            else:
                yield f"{path}{name}", field, None


def _normal(value: Any) -> Any:
    """One form for what clusters show in several: booleans and numbers may come back as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(float(value))
    if isinstance(value, dict):
        return {name: _normal(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_normal(member) for member in value]
    try:
        return str(float(value))
    except (TypeError, ValueError):
        return value


def _show(value: Any) -> str:
    return "nothing" if value is None else f"{json.dumps(value, ensure_ascii=False):.120}"
