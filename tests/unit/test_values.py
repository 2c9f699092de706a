"""Typed values become Python values and JSON without losing a digit; equal items share a digest."""

import base64
import enum
import json
import random
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import Any

import orjson
import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer
from hypothesis import given
from hypothesis import strategies as st

from producer.contract import Item
from tests import strategies
from worker.errors import RefusedError
from worker.plain import plain
from worker.values import NESTING, digest, plain_item, read_item

EXACT_AS_NUMBER = [
    ("0", 0),
    ("-0", 0),
    ("1", 1),
    ("1.0", 1),
    ("007", 7),
    ("-42", -42),
    ("0.1", 0.1),
    ("-2.50", -2.5),
    ("1E3", 1000),
    ("1700000000.123456", 1700000000.123456),
    ("9007199254740992", 2**53),
    ("1000000000000000000", 10**18),
    ("10000000000000000000", 1e19),
    ("1E125", 1e125),
    ("1E-130", 1e-130),
]

EXACT_AS_TEXT = [
    ("9007199254740993", "9007199254740993"),
    ("1152921504606846976", "1152921504606846976"),  # 2**60: a double, but not its shortest form
    ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
    ("-1.2345678901234567890E2", "-123.4567890123456789"),
    ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
    ("1.1111111111111111111111E25", "11111111111111111111111000"),
]


@pytest.mark.parametrize(("text", "expected"), [*EXACT_AS_NUMBER, *EXACT_AS_TEXT])
def test_a_number_is_a_json_number_only_if_every_reader_prints_it_back(
    text: str, expected: object
) -> None:
    made = plain_item({"n": {"N": text}})["n"]
    assert (type(made), made) == (type(expected), expected)
    assert made == plain(read_item({"n": {"N": text}}))["n"]


@given(strategies.numbers)
def test_a_number_survives_json_with_every_digit(text: str) -> None:
    for made in (plain_item({"n": {"N": text}}), plain(read_item({"n": {"N": text}}))):
        for written in (orjson.dumps(made).decode(), json.dumps(made)):
            (read,) = json.loads(written).values()
            assert Decimal(str(read)) == Decimal(text)
            (exact,) = json.loads(written, parse_float=Decimal, parse_int=Decimal).values()
            assert Decimal(exact) == Decimal(text)


@given(strategies.numbers)
def test_a_number_is_an_int_or_a_decimal_and_never_a_float(text: str) -> None:
    number = read_item({"n": {"N": text}})["n"]
    integral = Decimal(text) == Decimal(text).to_integral_value()
    assert type(number) is (int if integral else Decimal)
    assert number == Decimal(text)


@given(strategies.items())
def test_both_ways_to_json_agree(item: Item) -> None:
    assert plain(read_item(item)) == plain_item(item)


@given(strategies.items())
def test_python_values_are_those_of_boto3_but_for_integers_and_bytes(item: Item) -> None:
    def encode(typed: dict[str, Any]) -> dict[str, Any]:
        ((kind, content),) = typed.items()
        if kind == "B":
            return {kind: base64.b64decode(content)}
        if kind == "BS":
            return {kind: [base64.b64decode(member) for member in content]}
        if kind == "M":
            return {kind: {name: encode(member) for name, member in content.items()}}
        if kind == "N":
            return {kind: shorten(content)}
        if kind == "NS":
            return {kind: [shorten(member) for member in content]}
        return {kind: [encode(member) for member in content] if kind == "L" else content}

    def shorten(text: str) -> str:
        """With an exponent: boto3 raises Rounded for 1E38 as DynamoDB writes it, 39 digits."""
        return str(Decimal(text).normalize(Context(prec=60)))

    def simplify(value: Any) -> Any:
        if isinstance(value, Binary):
            return bytes(value)  # type: ignore[call-overload]
        if isinstance(value, set):
            return {simplify(member) for member in value}
        if isinstance(value, dict):
            return {name: simplify(member) for name, member in value.items()}
        return [simplify(member) for member in value] if isinstance(value, list) else value

    boto3: Any = TypeDeserializer()
    theirs = {name: boto3.deserialize(encode(value)) for name, value in item.items()}
    assert read_item(item) == simplify(theirs)


def test_every_type_has_its_plain_form() -> None:
    item: Item = {
        "s": {"S": "é"},
        "n": {"N": "1"},
        "b": {"B": "AP8="},
        "ss": {"SS": ["b", "a"]},
        "ns": {"NS": ["10", "9", "0.5", "9007199254740993"]},
        "bs": {"BS": ["/w==", "AA=="]},
        "m": {"M": {"inner": {"M": {}}}},
        "l": {"L": [{"L": []}, {"S": ""}]},
        "yes": {"BOOL": True},
        "nothing": {"NULL": True},
    }
    assert plain_item(item) == {
        "s": "é",
        "n": 1,
        "b": "AP8=",
        "ss": ["a", "b"],
        "ns": ["0.5", "9", "10", "9007199254740993"],
        "bs": ["/w==", "AA=="],
        "m": {"inner": {}},
        "l": [[], ""],
        "yes": True,
        "nothing": None,
    }
    read = read_item(item)
    assert (read["b"], read["bs"]) == (b"\0\xff", {b"\xff", b"\0"})
    assert (read["ss"], read["ns"]) == ({"a", "b"}, {10, 9, Decimal("0.5"), 9007199254740993})


MALFORMED = [
    ({"N": "one"}, "no number"),
    ({"N": "1_000"}, "no number"),
    ({"N": " 1"}, "no number"),
    ({"N": "\u0661"}, "no number"),
    ({"N": "²"}, "no number"),
    ({"N": ""}, "no number"),
    ({"N": "-"}, "no number"),
    ({"N": "NaN"}, "no number"),
    ({"N": "Infinity"}, "no number"),
    ({"N": 1}, "no number"),
    ({"N": "1" * 39}, "more than 38 digits"),
    ({"N": "0." + "1" * 39}, "more than 38 digits"),
    ({"N": "1E126"}, "beyond"),
    ({"N": "1E-131"}, "beyond"),
    ({"N": "1E9999"}, "beyond"),
    ({"N": "9" * 500}, "no number"),
    ({"S": 1}, "no text"),
    ({"S": "\ud800"}, "no valid Unicode"),
    ({"B": "a"}, "no base64"),
    ({"B": "a!=="}, "no base64"),
    ({"B": b"a"}, "no base64"),
    ({"B": "Y Q=="}, "no base64"),
    ({"B": "YQ==YQ=="}, "no base64"),
    ({"BOOL": "true"}, "neither true nor false"),
    ({"BOOL": 1}, "neither true nor false"),
    ({"NULL": False}, "not true"),
    ({"SS": "ab"}, "no list"),
    ({"SS": ["a", 1]}, "no text"),
    ({"NS": ["1", "x"]}, "no number"),
    ({"BS": ["x"]}, "no base64"),
    ({"M": []}, "no object"),
    ({"L": {}}, "no array"),
    ({"X": "1"}, "unknown type 'X'"),
    ({"S": "a", "N": "1"}, "no typed value"),
    ({}, "no typed value"),
    ("text", "no typed value"),
    (None, "no typed value"),
]


@pytest.mark.parametrize("convert", [read_item, plain_item, digest])
@pytest.mark.parametrize(("value", "reason"), MALFORMED)
def test_a_malformed_value_is_refused_with_the_path_to_it(
    convert: Callable[[Item], object], value: Any, reason: str
) -> None:
    item: Item = {"fine": {"S": "x"}, "a": {"M": {"b": {"L": [{"N": "1"}, value]}}}}
    with pytest.raises(RefusedError) as refused:
        convert(item)
    assert refused.value.error == "MalformedItem"
    assert refused.value.reason.startswith("a.b[1]: ")
    assert reason in refused.value.reason


def _nest(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "x"}
    for level in range(levels):
        value = {"L": [value]} if level % 2 else {"M": {"a": value}}
    return value


@pytest.mark.parametrize("convert", [read_item, plain_item, digest])
def test_an_item_may_be_as_deep_as_dynamodb_allows_and_no_deeper(
    convert: Callable[[Item], object],
) -> None:
    convert({"a": _nest(NESTING)})
    for levels in (NESTING + 1, 100_000):
        with pytest.raises(RefusedError, match="nested deeper than 32 levels"):
            convert({"a": _nest(levels)})


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


PYTHON_VALUES = [
    (1.0, 1),
    (-0.0, 0),
    (0.1, 0.1),
    (1e19, 1e19),
    (float(2**60), 1152921504606847000),  # a float means its shortest form
    (2**53 + 1, "9007199254740993"),
    (10**300, 1e300),
    (Decimal("1.10"), 1.1),
    (Decimal("1E-200"), 1e-200),
    (True, True),
    (None, None),
    (b"\0\xff", "AP8="),
    (bytearray(b"a"), "YQ=="),
    (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05+00:00"),
    (date(2024, 1, 2), "2024-01-02"),
    (time(3, 4), "03:04:00"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Colour.RED, "red"),
    (Size.BIG, 3),
    ((1, (2,)), [1, [2]]),
    (frozenset({10, 9, Decimal("0.5")}), [0.5, 9, 10]),
    ({"b", "a"}, ["a", "b"]),
    ({b"\xff", b"\0"}, ["/w==", "AA=="]),
    ({"a", 1, None}, [1, "a", None]),
    ({1: "a", Colour.RED: "b", date(2024, 1, 2): "c"}, {"1": "a", "red": "b", "2024-01-02": "c"}),
]


@pytest.mark.parametrize(("value", "expected"), PYTHON_VALUES)
def test_what_a_document_function_returns_becomes_json_by_the_same_rule(
    value: object, expected: object
) -> None:
    made = plain({"a": [value]})["a"][0]
    assert (type(made), made) == (type(expected), expected)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not finite"),
        (float("-inf"), "not finite"),
        (Decimal("Infinity"), "not finite"),
        (Decimal("1E999999"), "too large"),
        (10**1000, "too large"),
        (object(), "a object has no form in JSON"),
        ("\ud800", "no valid Unicode"),
        ({None: 1}, "cannot name a member"),
        ({1: 1, "1": 2}, "two members named"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: object, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        plain({"a": [1, {"b": value}]})
    assert refused.value.error == "UnsuitableValue"
    assert refused.value.reason.startswith("a[1].b: ")
    assert reason in refused.value.reason


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RefusedError, match="nested deeper than 100 levels"):
        plain({"a": endless})


def test_a_value_deeper_than_the_stack_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sys_limit = sys.getrecursionlimit()
    monkeypatch.setattr("worker.plain.NESTING", 10**6)
    deep: list[Any] = []
    for _ in range(sys_limit):
        deep = [deep]
    with pytest.raises(RefusedError):
        plain({"a": deep})


def _shuffle(value: Any, random_: random.Random) -> Any:
    """The same item, written another way: other orders, other spellings of its numbers."""
    ((kind, content),) = value.items()
    if kind == "N":
        return {"N": _respell(content, random_)}
    if kind == "M":
        return {"M": _shuffle_item(content, random_)}
    if kind == "L":
        return {"L": [_shuffle(member, random_) for member in content]}
    if kind in ("SS", "BS"):
        return {kind: random_.sample(content, len(content))}
    if kind == "NS":
        return {kind: [_respell(m, random_) for m in random_.sample(content, len(content))]}
    return value


def _shuffle_item(item: Item, random_: random.Random) -> Item:
    names = random_.sample(list(item), len(item))
    return {name: _shuffle(item[name], random_) for name in names}


def _respell(text: str, random_: random.Random) -> str:
    number = Decimal(text)
    plain_text = f"{number:f}"
    return random_.choice(
        [
            text,
            plain_text,
            f"{plain_text}.0" if "." not in plain_text else f"{plain_text}0",
            f"{number:E}",
        ]
    )


@given(strategies.items(), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_order_or_spelling(
    item: Item, random_: random.Random
) -> None:
    assert digest(_shuffle_item(item, random_)) == digest(item)


@given(strategies.items(), st.randoms(use_true_random=False))
def test_a_checked_item_has_the_same_digest(item: Item, random_: random.Random) -> None:
    plain_item(item)
    assert digest(_shuffle_item(item, random_), checked=True) == digest(item)


@pytest.mark.parametrize(
    "value",
    [
        *(
            {"N": n}
            for n in ("0", "-0", "7", "-7", "007", "1.50", "1.5", "-0.5", ".5", "1e3", "+1")
        ),
        *({"L": [{"N": n}]} for n in ("10", "1" * 38, "0." + "1" * 36, "1E-130", "1000.0", "1e3")),
        {"S": '{"N":"007"}'},
        {"S": '{"SS":["b","a"]}'},
        {"M": {"N": {"S": "007"}, "SS": {"S": "x"}, "B": {"N": "1.0"}}},
        {"M": {'{"N":"007"}': {"NULL": True}, '"': {"BOOL": False}}},
        {"L": [{"N": "1.10"}, {"B": "AA=="}, {"SS": ["b", "a"]}]},
        {"NS": ["2", "1.0"]},
        {"BS": ["/w==", "AA=="]},
    ],
)
def test_a_checked_value_has_the_same_digest_however_it_is_spelt(value: dict[str, Any]) -> None:
    assert digest({"a": value}, checked=True) == digest({"a": value})


def _meaning(value: Any) -> Any:
    ((kind, content),) = value.items()
    if kind == "N":
        return kind, Decimal(content)
    if kind == "NS":
        return kind, frozenset(map(Decimal, content))
    if kind in ("SS", "BS"):
        return kind, frozenset(content)
    if kind == "M":
        return kind, frozenset((name, _meaning(member)) for name, member in content.items())
    return kind, tuple(map(_meaning, content)) if kind == "L" else content


@given(strategies.values, strategies.values)
def test_two_items_share_a_digest_only_if_they_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = _meaning(one) == _meaning(other)
    assert (digest({"a": one}) == digest({"a": other})) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"S": "1"}, {"N": "1"}),
        ({"S": "AA=="}, {"B": "AA=="}),
        ({"SS": ["1"]}, {"NS": ["1"]}),
        ({"L": [{"S": "a"}]}, {"SS": ["a"]}),
        ({"L": []}, {"M": {}}),
        ({"NULL": True}, {"BOOL": True}),
        ({"M": {"S": {"S": "a"}}}, {"S": "a"}),
        ({"S": ""}, {"NULL": True}),
    ],
)
def test_types_tell_digests_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert digest({"a": one}) != digest({"a": other})


def test_the_digest_is_the_same_in_every_process_and_release() -> None:
    item: Item = {"id": {"S": "é"}, "n": {"N": "1.50"}, "s": {"SS": ["b", "a"]}}
    assert digest(item) == "ddaffd485742d84e070948035b1bda0d"
