"""A key is read as a person writes it, in each of its forms, or refused with the forms it has."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.errors import MisuseError
from console.keys import read_key
from worker.identity import document_id, key_text

TEXT = {"id": "S"}
NUMBER = {"n": "N"}
BINARY = {"b": "B"}
PAIR = {"owner": "S", "id": "N"}


@pytest.mark.parametrize(
    ("text", "types", "key"),
    [
        ("a", TEXT, {"id": {"S": "a"}}),
        ("100%", TEXT, {"id": {"S": "100%"}}),
        ("a|b", TEXT, {"id": {"S": "a|b"}}),
        ('{"id": "a"}', TEXT, {"id": {"S": "a"}}),
        ('{"id": {"S": "a"}}', TEXT, {"id": {"S": "a"}}),
        ("42", NUMBER, {"n": {"N": "42"}}),
        ("~n42", NUMBER, {"n": {"N": "42"}}),
        ('{"n": 42}', NUMBER, {"n": {"N": "42"}}),
        ('{"n": "42"}', NUMBER, {"n": {"N": "42"}}),
        ("AAE=", BINARY, {"b": {"B": "AAE="}}),
        ("~bAAE", BINARY, {"b": {"B": "AAE="}}),
        ('{"b": "AAE="}', BINARY, {"b": {"B": "AAE="}}),
        ("~n7|ann", PAIR, {"id": {"N": "7"}, "owner": {"S": "ann"}}),
        ("7|ann", PAIR, {"id": {"N": "7"}, "owner": {"S": "ann"}}),
        ('{"owner": "ann", "id": 7}', PAIR, {"id": {"N": "7"}, "owner": {"S": "ann"}}),
    ],
)
def test_each_form_of_a_key_is_read(text: str, types: dict[str, str], key: Any) -> None:
    assert read_key(text, types) == key


@pytest.mark.parametrize(
    ("text", "types", "word"),
    [
        ("ann", PAIR, "1 parts"),
        ('{"owner": "ann"}', PAIR, "just owner and id"),
        ('{"owner": "ann", "id": 7, "more": 1}', PAIR, "just owner and id"),
        ('{"id": {"N": "7"}}', TEXT, "id is of type S"),
        ('{"id": 7}', TEXT, "id is of type S"),
        ('{"n": true}', NUMBER, "n is of type N"),
        ("{", TEXT, "is no key"),
        ("seven", NUMBER, "no number"),
        ("not base64!", BINARY, "base64"),
        ("~h" + "0" * 64, TEXT, "give the key as JSON"),
    ],
)
def test_what_is_no_key_is_refused_with_the_forms_of_this_table(
    text: str, types: dict[str, str], word: str
) -> None:
    with pytest.raises(MisuseError, match=word) as caught:
        read_key(text, types)
    example = caught.value.hint.removeprefix("write ").partition(" or ")[0]
    assert read_key(example, types)


numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9),
                      max_value=10**9)  # fmt: skip
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.text(
    "ab%|~27CE5", min_size=1, max_size=12
)


def typed(kind: str) -> st.SearchStrategy[dict[str, str]]:
    values = {
        "S": texts,
        "N": numbers.map(lambda n: f"{n.normalize():f}"),
        "B": st.binary(min_size=1, max_size=30).map(lambda b: base64.b64encode(b).decode()),
    }
    return values[kind].map(lambda value: {kind: value})


@given(
    st.tuples(st.sampled_from("SNB"), st.sampled_from("SNB")).flatmap(
        lambda kinds: st.tuples(typed(kinds[0]), typed(kinds[1]))
    )
)
def test_the_id_of_a_composite_key_and_its_json_lead_back_to_it(parts: Any) -> None:
    key = {"a": parts[0], "b": parts[1]}
    types = {name: next(iter(value)) for name, value in key.items()}
    assert read_key(json.dumps(key), types) == key
    again = read_key(document_id(key), types)
    assert document_id(again) == document_id(key)
    assert key_text(_with_equal_numbers(again, key)) == key_text(key)


def _with_equal_numbers(one: Any, other: Any) -> Any:
    """`one`, its numbers spelled as in `other` where they are the same."""
    return {
        name: other[name]
        if "N" in typed and Decimal(typed["N"]) == Decimal(other[name]["N"])
        else typed
        for name, typed in one.items()
    }
