"""Documents, and whether an index refuses them: the kit and Elasticsearch must agree."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """Values of one field, in order: those that are taken, and those that are refused."""

    name: str
    field: dict[str, Any] | None
    """Its definition; None: the mapping does not declare it."""
    taken: tuple[Any, ...] = ()
    refused: tuple[Any, ...] = ()
    """Each sent after all of `taken`."""


STRICT = {"dynamic": "strict", "properties": {"known": {"type": "keyword"}}}
TAG = {"type": "object", "properties": {"n": {"type": "long"}}}

CASES = (
    Case("text", {"type": "text"}, ("x", 1, True, ["a", 2, None], ""), ({"a": 1}, [{"a": 1}])),
    Case(
        "keyword",
        {"type": "keyword"},
        ("x" * 32_766, 1, [True]),
        ("x" * 32_767, "é" * 16_384, {"a": 1}),
    ),
    Case("short_keyword", {"type": "keyword", "ignore_above": 10}, ("x" * 40_000,)),
    Case(
        "stored_keyword",
        {"type": "keyword", "index": False, "doc_values": False},
        ("x" * 40_000,),
    ),
    Case(
        "long",
        {"type": "long"},
        (1, "2", -(2**63), 2**63 - 1, float(2**63), 1.7, "3.5", "", None, [1, None, "2"]),
        (
            "many",
            2**63,
            "-9223372036854775809",
            "9223372036854775808",
            True,
            {"a": 1},
            [1, "x"],
            "1e",
            "0x10",
            1e300,
        ),
    ),
    Case("integer", {"type": "integer"}, (2**31 - 1, -(2**31)), (2**31, "x")),
    Case("short", {"type": "short"}, (32_767,), (32_768,)),
    Case("byte", {"type": "byte"}, (127, -128, 127.9), (128, -129)),
    Case(
        "double",
        {"type": "double"},
        (1, "1.5", "1e3", 1.7e308, ["12345678901234567890123456789012345678"]),
        ("x", True, "NaN", "Infinity", "1e400", {"a": 1}),
    ),
    Case("float", {"type": "float"}, (1.5, 3.4e38), (3.5e38, "x")),
    Case("half_float", {"type": "half_float"}, (65_504,), (65_536,)),
    Case(
        "boolean",
        {"type": "boolean"},
        (True, "false", "", None, [True, "true"]),
        ("yes", 1, 0, "True", {"a": 1}),
    ),
    Case(
        "date",
        {"type": "date"},
        (
            "2024-01-02",
            "2024-01",
            "2024",
            "2024-01-02T03:04",
            "2024-01-02T03:04:05.123456+00:00",
            "2024-01-02T03:04:05Z",
            "2024-01-02T03Z",
            1_700_000_000_000,
            "1700000000000",
            -5,
        ),
        (
            "yesterday",
            "2024-13-01",
            "2024-02-30",
            "02.01.2024",
            "2024-1-2",
            "2024-01-02 03:04:05",
            "",
            {"a": 1},
        ),
    ),
    Case("own_date", {"type": "date", "format": "dd.MM.yyyy"}, ("02.01.2024",)),
    Case("lenient", {"type": "long", "ignore_malformed": True}, ("x",)),
    Case("ip", {"type": "ip"}, ("10.0.0.1", "::1"), ("10.0.0", "host", 7)),
    Case("binary", {"type": "binary"}, ("AP8=",)),
    Case("object", TAG, ({"n": 1}, [{"n": 1}, {"n": 2}], None, {}), ("x", 1, [{"n": 1}, 2])),
    Case("nested", {**TAG, "type": "nested"}, ([{"n": 1}],), ({"n": "x"}, "x")),
    Case("closed", {"type": "object", "enabled": False}, ("x", {"a": [1, "x"]}, [1, {"a": 2}])),
    Case(
        "strict",
        STRICT,
        ({"known": "x"},),
        ({"other": 1}, {"known": "a", "b": 2}, {"other": None}, {"other": []}),
    ),
    Case("deaf", {"dynamic": False, "properties": {}}, ({"a": 1}, {"a": "x"}, {"a": {"b": 1}})),
    Case(
        "runtime",
        {"dynamic": "runtime", "properties": {}},
        ({"a": 1}, {"b": "x"}, {"b": 1}, {"b": "y"}),
        ({"a": "x"},),
    ),
    Case("flat", {"type": "flattened"}, ({"a": 1}, {"a": "x"})),
    Case("new_number", None, (1, 1.5, "7"), ("x", True, {"a": 1})),
    Case("new_text", None, ("2024-01-01", "x", 1, True), ({"a": 1},)),
    Case("new_boolean", None, (True, "false"), (1, "x")),
    Case("new_object", None, ({"a": 1}, {"b": "x"}), ("x", {"a": "x"}, 1)),
    Case("new_list", None, ([None, 1, [2.5]],), ([1, "x"],)),
    Case("new_mixed", None, (), ([1, "x"], [1, True], ["x", {"a": 1}], ["x", True], ["x", 1])),
    Case("new_nothing", None, (None, [], [None], "x")),
    Case("deep", None, ({"a": {"b.c": 1}}, {"a.b": {"c": 2}}), ({"a": {"b": 1}}, {"a.b.c": "x"})),
)
"""Each in one index, under its own name."""

ROOTS: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"_id": "x"}, True),
    ({"_source": {}}, True),
    ({"_routing": "x"}, True),
    ({"_index": "x"}, True),
    ({"_field_names": "x"}, True),
    ({"_other": "x"}, False),
    ({"": "x"}, True),
    ({"a.": "x"}, False),
    ({"a..": "x"}, False),
    ({".": "x"}, True),
    ({"c. ": "x"}, True),
    ({".a": "x"}, True),
    ({"b..c": "x"}, True),
    ({" ": "x"}, True),
    ({"with blank": "x"}, False),
)
"""Whole documents, and whether each is refused."""


def mapping() -> dict[str, Any]:
    """What the index of all cases is made with."""
    return {"properties": {case.name: case.field for case in CASES if case.field is not None}}


def documents() -> list[tuple[dict[str, Any], bool]]:
    """All documents, in order, and whether each is refused."""
    return [
        *(({case.name: value}, False) for case in CASES for value in case.taken),
        *(({case.name: value}, True) for case in CASES for value in case.refused),
        *ROOTS,
    ]
