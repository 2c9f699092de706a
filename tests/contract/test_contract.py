"""Encoding and decoding are inverse for all DynamoDB can hold; what is no message is refused."""

import base64
import json
import zlib
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from producer.chunks import claim_check
from producer.contract import (
    Change,
    Chunk,
    ContractError,
    Overflow,
    decode_chunk,
    decode_record,
    encode_chunk,
    encode_record,
    inflate,
    parse_stream_arn,
    read_images,
    read_payload,
    write_payload,
)
from tests import strategies
from tests.fakes import ARN

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
REMOVE = {"kind": "REMOVE", "key": {"id": {"S": "1"}}, "at": 1, "sequence": "1"}
INSERT = REMOVE | {"kind": "INSERT", "new": {"id": {"S": "1"}}}
READ = {"kind": "READ", "key": {"id": {"S": "1"}}, "at": 1}


def write(*changes: object, table: object = "posts-a.b", stream: object = ARN) -> str:
    fields = {"table": table, "stream": stream, "changes": list(changes)}
    return write_payload(zlib.compress(json.dumps(fields).encode()))


@given(strategies.chunks())
def test_decoding_a_chunk_undoes_encoding_it(chunk: Chunk) -> None:
    payload = encode_chunk(chunk)
    assert payload.isascii()
    assert decode_chunk(payload) == chunk


@given(JSON)
def test_decoding_a_record_undoes_encoding_it(record: object) -> None:
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("record", [{"a": "\ud800"}, None, {"NaN": "NaN"}, [[["\x00"]]]])
def test_a_record_with_any_text_survives_lone_surrogates_included(record: object) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.one_of(strategies.stream_changes(), strategies.reads()))
def test_reading_images_back_undoes_a_claim_check(change: Change) -> None:
    if change.overflow is not None:
        return
    small, stored = claim_check("posts", None if change.kind == "READ" else ARN, change)
    assert (small.new, small.old) == (None, None)
    assert small.overflow == Overflow(stored.key, len(inflate(stored.content)))
    assert read_images(small, stored.content) == change


def test_fields_of_a_later_producer_are_ignored() -> None:
    chunk = decode_chunk(write(INSERT | {"color": "red"}))
    assert chunk.changes[0].new == {"id": {"S": "1"}}


@pytest.mark.parametrize("library", [zlib, zlib_ng])
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "no text"),
        (b"1:", "no text"),
        ("", "version"),
        ("AAAA", "version"),
        (":AAAA", "version"),
        ("²:AAAA", "version"),
        ("9" * 50 + ":AAAA", "version"),
        ("2:AAAA", "payload of version 2"),
        ("1:A", "base64"),
        ("1:é", "base64"),
        ("1:AAAA", "zlib"),
        (write_payload(zlib.compress(b"[]")[:-1]), "cut off"),
        (write_payload(zlib.compress(b"[]") + b"x"), "behind it"),
        (write_payload(zlib.compress(b"x" * (17 * 1024 * 1024))), "once inflated"),
        (write_payload(zlib.compress(b"{")), "not JSON"),
        (write_payload(zlib.compress(b"\xff")), "not JSON"),
        (write_payload(zlib.compress(b"[" * 100_000)), "not JSON"),
        (write_payload(zlib.compress(b"[]")), "chunk is no object"),
    ],
)
def test_what_is_no_payload_is_refused_with_its_reason(
    payload: object, words: str, library: ModuleType
) -> None:
    with pytest.raises(ContractError, match=words):
        decode_chunk(payload, library=library)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (write(), "without changes"),
        (write(INSERT, table=""), "name of a table"),
        (write(INSERT, table="other"), "stream of another table"),
        (write(INSERT, stream="arn:aws:sqs:1"), "ARN"),
        (write(5), "change 0: change is no object"),
        (write(INSERT, READ), "change 1: a READ inside a stream"),
        (write(INSERT, stream=None), "an? INSERT outside"),
        (write(INSERT | {"kind": "UPSERT"}), "unknown kind"),
        (write(INSERT | {"kind": []}), "unknown kind"),
        (write(INSERT | {"at": "1"}), "'at'"),
        (write(INSERT | {"at": True}), "'at'"),
        (write(INSERT | {"at": -1}), "'at'"),
        (write(INSERT | {"sequence": 1}), "'sequence'"),
        (write(INSERT | {"sequence": "x"}), "'sequence'"),
        (write(INSERT | {"new": None}), "without its new image"),
        (write(INSERT | {"new": {"id": "1"}}), "no typed item"),
        (write(INSERT | {"new": []}), "no object"),
        (write(INSERT | {"key": {}}), "0 attributes"),
        (write(INSERT | {"key": {"id": {"BOOL": True}}}), "no S, N or B"),
        (write(INSERT | {"identity": 5}), "identity"),
        (write(INSERT | {"overflow": {"bytes": 5}}), "key of an object"),
        (write(INSERT | {"overflow": {"key": "k", "bytes": 0}}), "impossible size"),
        (write(INSERT | {"overflow": {"key": "k", "bytes": 10**9}}), "impossible size"),
        (write(REMOVE | {"new": {"id": {"S": "1"}}}), "REMOVE with a new image"),
    ],
)
def test_what_is_no_chunk_is_refused_by_the_name_of_its_field(payload: str, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        decode_chunk(payload)


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "arn:aws:dynamodb:eu-west-1:1:table/posts",
        "arn:aws:dynamodb:eu-west-1:1:table/posts/stream/",
        "arn:aws:dynamodb:eu-west-1:1:table/a/b/stream/2024",
        "arn:gcp:dynamodb:eu-west-1:1:table/posts/stream/2024",
        ARN + "\n",
    ],
)
def test_what_is_no_stream_arn_is_refused(arn: str) -> None:
    with pytest.raises(ContractError, match="ARN"):
        parse_stream_arn(arn)


@given(st.data())
def test_a_damaged_payload_is_refused_or_whole_and_never_raises_anything_else(data: Any) -> None:
    payload = encode_chunk(data.draw(strategies.chunks()))
    content = bytearray(base64.b64decode(payload[2:]))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        read = read_payload(write_payload(bytes(content)))
    except ContractError:
        return
    # Two bits of zlib's header only tell the level (RFC 1950, FLEVEL).
    assert read == read_payload(payload)
