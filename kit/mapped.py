"""What an index refuses, as far as it can be told without one. Pure.

Only what Elasticsearch 8 and 9 surely refuse is refused here; `tests/integration/test_refusals.py`
holds every rule to both. All else passes: types that are not listed, date formats of one's own,
analysers, limits on the number of fields or on nesting, scripts. `sluice check` asks a cluster.

Sources: Elasticsearch reference, *Field data types*, *Dynamic field mapping*, *Metadata fields*.
"""

import base64
import binascii
import copy
import ipaddress
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from worker.mappings import META

Refusal: TypeAlias = tuple[str, str]
"""The error type, and a reason in our words."""

PARSING: Final = "document_parsing_exception"
KEYWORD_BYTES: Final = 32_766
"""Longest term of Lucene. A longer keyword is refused, unless `ignore_above` leaves it out."""

_META_FIELDS: Final = frozenset({"_field_names", "_id", "_index", "_source", "_routing"})
_OBJECTS: Final = frozenset({"object", "nested"})
_WHOLE: Final = {"byte": 8, "short": 16, "integer": 32, "long": 64}
_LARGEST: Final = {"half_float": 65_520.0, "float": 3.402_823_5e38, "double": sys.float_info.max}
_TEXTS: Final = frozenset({"text", "keyword", "wildcard", "match_only_text", "constant_keyword"})
_DYNAMIC_TEXT: Final = {"type": "text", "fields": {"keyword": {"type": "keyword"}}}
_DATE: Final = re.compile(
    r"(?P<day>\d{4}(?:-\d\d(?:-\d\d)?)?)"
    r"(?:T(?:\d\d(?::\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?)?",
    re.ASCII,
)
"""strict_date_optional_time; epoch_millis, the other half of the default, are digits."""


class _RefusedError(Exception):
    """The document is refused, with these words."""

    def __init__(self, reason: str, error: str = PARSING) -> None:
        super().__init__(reason)
        self.error = error


@dataclass(slots=True)
class Mapped:
    """The mapping of one index: as it was declared, and what documents have added since."""

    mapping: dict[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Mapped":
        """From what an index is created with: `worker.tables.index_body`."""
        return cls(copy.deepcopy(body["mappings"]))

    def take(self, fields: Mapping[str, Any]) -> Refusal | None:
        """Why the index refuses a document; None if it takes it, and maps its new fields."""
        after = copy.deepcopy(self.mapping)
        others = {name: value for name, value in fields.items() if name != META}
        try:
            _check_reserved(others)
            _take_object(after, others, "")
        except _RefusedError as error:
            return error.error, str(error)
        self.mapping = after
        return None


def _take_object(
    mapping: dict[str, Any], value: Mapping[str, Any], path: str, dynamic: Any = True
) -> None:
    if mapping.get("enabled") is False:
        return
    dynamic = mapping.get("dynamic", dynamic)
    for name, member in value.items():
        first, _, rest = _read_name(name, path).partition(".")
        inner = {rest: member} if rest else member
        _take_field(mapping, first, inner, f"{path}{first}", dynamic)


def _take_field(parent: dict[str, Any], name: str, value: Any, path: str, dynamic: Any) -> None:
    values = list(_flatten(value))
    declared = parent.get("properties", {}).get(name)
    if declared is None:
        declared = _declare(parent, name, values, path, dynamic)
    for one in values if declared is not None else ():
        _take_value(declared, one, path, dynamic)


def _declare(
    parent: dict[str, Any], name: str, values: list[Any], path: str, dynamic: Any
) -> dict[str, Any] | None:
    """What becomes of a field that the mapping does not have; None: nothing, and it is taken."""
    if name in parent.get("runtime", {}):
        return None
    if _is(dynamic, "strict"):
        raise _RefusedError(
            f"[{path}] is not declared, and the mapping is strict",
            "strict_dynamic_mapping_exception",
        )
    if not values or _is(dynamic, "false"):
        return None
    if _is(dynamic, "runtime") and {_kind(value) for value in values} != {"number"}:
        # Numbers alone are mapped, by Sluice's own templates.
        parent.setdefault("runtime", {})[name] = {}
        return None
    declared = _map_new(values, path)
    parent.setdefault("properties", {})[name] = declared
    return declared


def _take_value(declared: dict[str, Any], value: Any, path: str, dynamic: Any) -> None:
    kind = declared.get("type", "object")
    if kind in _OBJECTS:
        if isinstance(value, dict):
            _take_object(declared, value, f"{path}.", dynamic)
        elif declared.get("enabled") is not False:
            raise _RefusedError(f"[{path}] is an object, and was given {_say(value)}")
        return
    check = _CHECKS.get(kind)
    if check is None or _is(declared.get("ignore_malformed", False), "true"):
        return
    if isinstance(value, dict) or not check(declared, value):
        raise _RefusedError(f"[{path}] is of type [{kind}], and was given {_say(value)}")


def _map_new(values: list[Any], path: str) -> dict[str, Any]:
    """What dynamic mapping makes of a field's first values, with Sluice's own templates."""
    kinds = {_kind(value) for value in values}
    if len(kinds) > 1:
        held = " and ".join(sorted(kinds))
        raise _RefusedError(f"[{path}] is new, and was given {held} in one array")
    (kind,) = kinds
    made: dict[str, dict[str, Any]] = {
        "object": {"properties": {}},
        "boolean": {"type": "boolean"},
        "number": {"type": "double"},
        "text": _DYNAMIC_TEXT,
    }
    return copy.deepcopy(made[kind])


def _flatten(value: Any) -> Iterator[Any]:
    """The values of a field: an array is as many of them, null is none."""
    if isinstance(value, list):
        for member in value:
            yield from _flatten(member)
    elif value is not None:
        yield value


def _check_reserved(fields: Mapping[str, Any]) -> None:
    reserved = sorted(_META_FIELDS & fields.keys())
    if reserved:
        raise _RefusedError(f"field [{reserved[0]}] is a metadata field")


def _read_name(name: str, path: str) -> str:
    """The dotted name; Elasticsearch does not mind dots at its end."""
    parts = name.rstrip(".").split(".")
    if not all(part.strip() for part in parts):
        raise _RefusedError(f"the field name [{path}{name}] has an empty part")
    return ".".join(parts)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _is(setting: Any, wanted: str) -> bool:
    return str(setting).lower() == wanted


def _say(value: Any) -> str:
    return f"an {_kind(value)}" if isinstance(value, dict) else f"{json.dumps(value):.80}"


def _fits_text(declared: Mapping[str, Any], value: Any) -> bool:
    if declared["type"] != "keyword" or "ignore_above" in declared or "normalizer" in declared:
        return True
    if not (declared.get("index", True) or declared.get("doc_values", True)):
        return True
    return len((value if isinstance(value, str) else json.dumps(value)).encode()) <= KEYWORD_BYTES


def _fits_number(declared: Mapping[str, Any], value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if value == "":
        return True  # taken for null, unless `coerce` is off
    try:
        number = Decimal(value.strip() if isinstance(value, str) else repr(value))
    except InvalidOperation:
        return False
    return number.is_finite() and _in_range(declared["type"], number, value)


def _in_range(kind: str, number: Decimal, value: Any) -> bool:
    if kind in _LARGEST:
        return bool(abs(number) <= Decimal(_LARGEST[kind]))
    most = 2 ** (_WHOLE[kind] - 1)
    if isinstance(value, float) and kind == "long":
        return bool(abs(value) <= most)  # as a double, the largest long is one more
    return bool(-most <= int(number) < most)


def _fits_boolean(declared: Mapping[str, Any], value: Any) -> bool:
    return isinstance(value, bool) or value in ("true", "false", "")


def _fits_date(declared: Mapping[str, Any], value: Any) -> bool:
    if "format" in declared or not isinstance(value, str):
        return not isinstance(value, bool)
    match = _DATE.fullmatch(value)
    if match is None:
        return value.removeprefix("-").isdecimal()
    try:
        date.fromisoformat(f"{match['day']}-01-01"[:10] if len(match["day"]) < 10 else match["day"])
    except ValueError:
        return match["day"].startswith("0000")
    return True


def _fits_ip(declared: Mapping[str, Any], value: Any) -> bool:
    try:
        ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _fits_binary(declared: Mapping[str, Any], value: Any) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return False
    return True


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], Any], bool]]] = {
    **dict.fromkeys(_TEXTS, _fits_text),
    **dict.fromkeys((*_WHOLE, *_LARGEST), _fits_number),
    "boolean": _fits_boolean,
    "date": _fits_date,
    "ip": _fits_ip,
    "binary": _fits_binary,
}
