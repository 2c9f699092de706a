"""Hypothesis strategies for whatever DynamoDB can hold, and for streams of it.

Source: Amazon DynamoDB Developer Guide, *Naming rules and data types* and *Service quotas*.
Sets are never empty; numbers have up to 38 digits, 1E-130 to 9.99E+125; keys are S, N or B and not
empty; maps and lists nest. Text is any Unicode that UTF-8 carries.
"""

import base64
from decimal import Context, Decimal
from typing import Any

from hypothesis import strategies as st

from producer.contract import Change, Chunk, Item, Kind, Overflow

ARN_HEADS = (
    "arn:aws:dynamodb:eu-west-1:123456789012",
    "arn:aws-cn:dynamodb:cn-north-1:123456789012",
    "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012",
    "arn:aws:dynamodb:ddblocal:000000000000",
)

_KINDS: tuple[Kind, ...] = ("INSERT", "MODIFY", "REMOVE")

texts = st.text(st.characters(codec="utf-8"), max_size=40)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
binaries = st.binary(max_size=40).map(lambda content: base64.b64encode(content).decode())


def write_number(digits: int, exponent: int) -> str:
    """A number as DynamoDB writes it: no exponent, no zeros at the end of a fraction."""
    number = Decimal(digits).scaleb(exponent, Context(prec=60)).normalize(Context(prec=60))
    return f"{number:f}"


numbers = st.one_of(
    st.builds(
        write_number,
        st.integers(min_value=-(10**38) + 1, max_value=10**38 - 1),
        st.integers(min_value=-130, max_value=87),
    ),
    st.sampled_from(["0", "-1", "1E-130", "9.9999999999999999999999999999999999999E+125"]),
    st.integers().map(str).filter(lambda text: len(text) < 39),
)


def _sets(elements: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(elements, min_size=1, max_size=4, unique=True)


scalars: st.SearchStrategy[dict[str, Any]] = st.one_of(
    texts.map(lambda value: {"S": value}),
    numbers.map(lambda value: {"N": value}),
    binaries.map(lambda value: {"B": value}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    _sets(texts).map(lambda value: {"SS": value}),
    _sets(numbers).map(lambda value: {"NS": value}),
    _sets(binaries).map(lambda value: {"BS": value}),
)

values: st.SearchStrategy[dict[str, Any]] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda value: {"L": value}),
        st.dictionaries(texts, inner, max_size=4).map(lambda value: {"M": value}),
    ),
    max_leaves=10,
)
"""A typed attribute value."""

_key_values = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).map(lambda v: {"S": v}),
    numbers.map(lambda value: {"N": value}),
    st.binary(min_size=1, max_size=30).map(lambda v: {"B": base64.b64encode(v).decode()}),
)
keys: st.SearchStrategy[Item] = st.dictionaries(names, _key_values, min_size=1, max_size=2)
"""The key of an item: partition key alone, or with a sort key."""


@st.composite
def items(draw: st.DrawFn, key: Item | None = None) -> Item:
    """A typed item, its key attributes among the others."""
    others = draw(st.dictionaries(names, values, max_size=5))
    return others | (draw(keys) if key is None else key)


sequences = st.integers(min_value=10**20, max_value=10**40 - 1).map(str)
times = st.integers(min_value=0, max_value=10**14 - 1)
tables = st.from_regex(r"[A-Za-z0-9_.-]{3,40}", fullmatch=True)
labels = st.just("2024-01-01T00:00:00.000")
identities = st.just({"type": "Service", "principalId": "dynamodb.amazonaws.com"})
overflows = st.builds(
    Overflow,
    key=st.text(st.characters(codec="utf-8"), min_size=1, max_size=80),
    bytes=st.integers(min_value=1, max_value=16 * 1024 * 1024),
)


@st.composite
def streams(draw: st.DrawFn, table: str) -> str:
    """The ARN of a stream of that table, in any partition."""
    return f"{draw(st.sampled_from(ARN_HEADS))}:table/{table}/stream/{draw(labels)}"


@st.composite
def stream_changes(draw: st.DrawFn) -> Change:
    """A change of a stream, with or without old image, its images here or in the bucket."""
    kind = draw(st.sampled_from(_KINDS))
    key = draw(keys)
    aside = draw(st.none() | overflows) if kind != "REMOVE" else None
    whole = aside is None
    return Change(
        kind=kind,
        key=key,
        at=draw(times),
        sequence=draw(sequences),
        new=draw(items(key)) if whole and kind != "REMOVE" else None,
        old=draw(st.none() | items(key)) if whole and kind != "INSERT" else None,
        identity=draw(st.none() | identities) if kind == "REMOVE" else None,
        overflow=aside,
    )


@st.composite
def reads(draw: st.DrawFn) -> Change:
    """A consistent read of an item, there or not."""
    key = draw(keys)
    return Change(kind="READ", key=key, at=draw(times), new=draw(st.none() | items(key)))


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    """A chunk of a stream or of reads."""
    table = draw(tables)
    stream = draw(st.none() | streams(table))
    one = reads() if stream is None else stream_changes()
    handler = draw(st.none() | names)
    return Chunk(table, stream, tuple(draw(st.lists(one, min_size=1, max_size=5))), handler)


@st.composite
def stream_records(draw: st.DrawFn) -> dict[str, Any]:
    """A record as Lambda delivers it, of a stream with both images."""
    table = draw(tables)
    kind = draw(st.sampled_from(["INSERT", "MODIFY", "REMOVE"]))
    key = draw(keys)
    body: dict[str, Any] = {
        "ApproximateCreationDateTime": draw(st.integers(min_value=0, max_value=9_999_999_999)),
        "Keys": key,
        "SequenceNumber": draw(sequences),
        "SizeBytes": 1,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    if kind != "REMOVE":
        body["NewImage"] = draw(items(key))
    if kind != "INSERT":
        body["OldImage"] = draw(items(key))
    record: dict[str, Any] = {
        "eventID": "1",
        "eventName": kind,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": body,
        "eventSourceARN": draw(streams(table)),
    }
    if kind == "REMOVE" and draw(st.booleans()):
        record["userIdentity"] = draw(identities)
    return record
