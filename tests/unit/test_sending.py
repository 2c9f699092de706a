"""Reads of the table are written as the producer itself writes changes, by what is faster."""

import pytest
from hypothesis import given

from console.sending import dump_json, make_read
from producer.contract import Change, ContractError, write_change, write_json
from tests import strategies


@given(strategies.reads() | strategies.stream_changes())
def test_a_change_is_the_same_bytes_by_either(change: Change) -> None:
    assert write_change(change, dump_json) == write_change(change)


@pytest.mark.parametrize("text", ["\x00\x1f\x7f\x80\u2028\U0001f600", "\"\\/'<", "é" * 3])
def test_text_is_escaped_alike(text: str) -> None:
    read = make_read({"id": {"S": text}}, {"id": {"S": text}, text: {"S": text}}, 5)
    assert write_change(read, dump_json) == write_change(read)


def test_half_a_surrogate_pair_is_refused_alike() -> None:
    read = make_read({"id": {"S": "a"}}, {"id": {"S": "a"}, "text": {"S": "\ud800"}}, 5)
    for dumps in (dump_json, write_json):
        with pytest.raises(ContractError, match="no valid Unicode"):
            write_change(read, dumps)
