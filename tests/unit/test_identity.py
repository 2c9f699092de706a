"""Document ids: injective, readable, within Elasticsearch's limit."""

import base64
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.contract import Item
from worker.errors import RefusedError
from worker.identity import ID_BYTES, document_id, key_text, read_key_text, routing_value

numbers = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20)).map(
    lambda number: {"N": str(number)}
)
binaries = st.binary(min_size=1, max_size=700).map(
    lambda content: {"B": base64.b64encode(content).decode()}
)
characters = st.characters(codec="utf-8")
texts = st.text(characters, min_size=1, max_size=700).map(lambda text: {"S": text})
tricky = st.text(st.sampled_from("|%~a7CEn"), min_size=1, max_size=6).map(lambda text: {"S": text})
parts = st.one_of(texts, tricky, numbers, binaries)
keys = st.one_of(
    st.fixed_dictionaries({"a": parts}), st.fixed_dictionaries({"a": parts, "b": parts})
)


def meaning(key: Item) -> object:
    """The key as DynamoDB tells it apart: numbers by value."""
    return tuple(
        (kind, Decimal(value) if kind == "N" else value)
        for name in sorted(key)
        for kind, value in key[name].items()
    )


@given(keys, keys)
def test_two_keys_share_an_id_only_if_they_are_equal(one: Item, other: Item) -> None:
    assert (document_id(one) == document_id(other)) == (meaning(one) == meaning(other))


@given(keys)
def test_an_id_fits_elasticsearch_whatever_the_key(key: Item) -> None:
    assert 0 < len(document_id(key).encode()) <= ID_BYTES


@given(keys)
def test_a_key_survives_being_stored(key: Item) -> None:
    assert read_key_text(key_text(key)) == key


@given(st.dictionaries(st.text(max_size=4), st.dictionaries(st.text(max_size=2), st.text())))
def test_the_stored_key_has_one_spelling(key: Item) -> None:
    spelt = json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert key_text(key) == spelt
    assert key_text(dict(reversed(key.items()))) == spelt


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ({"id": {"S": "post-1"}}, "post-1"),
        ({"id": {"N": "42.0"}}, "~n42"),
        ({"id": {"B": "/+8="}}, "~b_-8"),
        ({"pk": {"S": "a|b"}, "sk": {"S": "c"}}, "a%7Cb|c"),
        ({"pk": {"S": "a"}, "sk": {"S": "b|c"}}, "a|b%7Cc"),
        ({"sk": {"N": "7"}, "pk": {"S": "user"}}, "user|~n7"),
        ({"id": {"S": "~n42"}}, "%7En42"),
        ({"id": {"N": "-0"}}, "~n0"),
    ],
)
def test_ids_stay_as_they_are_written_down(key: Item, expected: str) -> None:
    assert document_id(key) == expected


def test_numbers_of_38_digits_keep_each_one_of_them() -> None:
    one, other = "1" * 37 + "1", "1" * 37 + "2"
    assert document_id({"id": {"N": one}}) != document_id({"id": {"N": other}})


def test_a_key_of_3_kilobytes_becomes_a_hash() -> None:
    key = {"pk": {"S": "x" * 2048}, "sk": {"S": "y" * 1024}}
    assert document_id(key).startswith("~h")


def test_routing_uses_the_named_attributes_alone() -> None:
    key = {"pk": {"S": "user|1"}, "sk": {"N": "7"}}
    assert routing_value(key, ()) is None
    assert routing_value(key, ("pk",)) == "user%7C1"


@pytest.mark.parametrize(
    "key",
    [
        {"id": {"N": "seven"}},
        {"id": {"N": "Infinity"}},
        {"id": {"B": "?"}},
        {"id": {"S": "\ud800"}},
        {"id": {"L": []}},
    ],
)
def test_an_impossible_key_is_refused(key: Item) -> None:
    with pytest.raises(RefusedError, match="MalformedKey"):
        document_id(key)


def test_routing_by_what_the_key_does_not_have_is_refused() -> None:
    with pytest.raises(RefusedError, match="tenant"):
        routing_value({"id": {"S": "1"}}, ("tenant",))
