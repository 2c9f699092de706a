"""A dead letter: the message as SQS gives it, what it holds, and what is said of it. Pure."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from producer.contract import (
    AT_ATTRIBUTE,
    ERROR_ATTRIBUTE,
    FIRST_ATTRIBUTE,
    ID_ATTRIBUTE,
    INDEX_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    REASON_ATTRIBUTE,
    RECEIVES_ATTRIBUTE,
    RECORD_TASK,
    TABLE_ATTRIBUTE,
    Chunk,
    ContractError,
    Item,
    decode_chunk,
    decode_record,
    write_attributes,
)
from producer.stream import stream_of
from worker.deadletters import read_time, write_time
from worker.errors import RefusedError
from worker.identity import document_id, key_text
from worker.incoming import Undecodable, read_body

OURS: Final = "sluice-"
"""Start of the names of the attributes that say why; a redrive leaves them behind."""

ATTRIBUTES: Final = 10
"""Most that SQS takes on a message (Amazon SQS Developer Guide, message metadata)."""

MAX_RECEIVES: Final = "MaxReceives"
"""Error class of a readable message without a reason: SQS moved it, nobody refused it."""

UNDECODABLE: Final = "UndecodableMessage"

Attribute: TypeAlias = Mapping[str, Any]
"""A message attribute in boto3's form: DataType, and StringValue or BinaryValue."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the dead-letter queue, in our hands for a moment."""

    id: str
    receipt: str
    body: str
    attributes: Mapping[str, Attribute]
    sent_ms: int
    """When it was sent; of a message that SQS moved here, when it was sent to the main queue."""
    receives: int
    """How often it was received, by commands that only looked too."""
    moved: bool
    """Whether SQS itself moved it here."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stream record that the producer could not read."""

    value: object


Contents: TypeAlias = Chunk | Record | Undecodable


@dataclass(frozen=True, slots=True)
class Letter:
    """What is said of a dead letter: everything but what its documents hold."""

    message: str
    error: str
    reason: str
    table: str
    index: str
    origin: str
    """Who refused it: `producer`, `worker` or `sqs`; empty if nobody says."""
    kind: str
    """`changes`, `record` or `undecodable`."""
    ids: tuple[str, ...]
    """Ids of its documents."""
    keys: tuple[str, ...]
    """Their keys, as canonical JSON of the typed form."""
    values: frozenset[str]
    """The keys' single values, as text."""
    since_ms: int
    """When it was dead-lettered; where nobody says, when it was sent."""
    first_ms: int
    """When it was first sent, before any redrive; where nobody says, when it was sent."""
    tried: int | None
    """How often a worker had received it when it was dead-lettered; None if nobody says."""
    receives: int
    """How often it was received since, by commands that only looked."""
    bytes: int
    """Of its body."""


def read_contents(body: str) -> Contents:
    """What a body holds. Never raises, whatever it is."""
    call = read_body(body)
    if isinstance(call, Undecodable):
        return call
    try:
        if call.task == RECORD_TASK:
            return Record(decode_record(call.payload))
        return decode_chunk(call.payload)
    except ContractError as error:
        return Undecodable(body, str(error))


def describe(received: Received) -> Letter:
    """What is said of a message: by its attributes, else by what it holds."""
    contents = read_contents(received.body)
    said = {name: str(a.get("StringValue", "")) for name, a in received.attributes.items()}
    error, reason = _explain(contents, received.moved)
    keys = list(_keys(contents))
    ids = {said[ID_ATTRIBUTE]: None} if ID_ATTRIBUTE in said else {}
    return Letter(
        message=received.id,
        error=said.get(ERROR_ATTRIBUTE) or error,
        reason=said.get(REASON_ATTRIBUTE) or reason,
        table=said.get(TABLE_ATTRIBUTE) or table_of(contents),
        index=said.get(INDEX_ATTRIBUTE, ""),
        origin=said.get(ORIGIN_ATTRIBUTE) or ("sqs" if received.moved else ""),
        kind=_kind(contents),
        ids=tuple({**ids, **dict.fromkeys(filter(None, map(_document_id, keys)))}),
        keys=tuple(dict.fromkeys(key_text(key) for key in keys)),
        values=frozenset(str(v) for key in keys for typed in key.values() for v in typed.values()),
        since_ms=read_time(said.get(AT_ATTRIBUTE, "")) or received.sent_ms,
        first_ms=first_sent(received),
        tried=_read_count(said.get(RECEIVES_ATTRIBUTE, "")),
        receives=received.receives,
        bytes=len(received.body.encode()),
    )


def first_sent(received: Received) -> int:
    """When a message was sent for the first time of all, as far as it says."""
    said = received.attributes.get(FIRST_ATTRIBUTE, {}).get("StringValue", "")
    return read_time(str(said)) or received.sent_ms


def mark_first(attributes: Mapping[str, Attribute], received: Received) -> dict[str, Attribute]:
    """Attributes that say when it was first sent: where it is going, it is sent anew."""
    said = write_attributes(first=write_time(first_sent(received)))
    full = FIRST_ATTRIBUTE not in attributes and len(attributes) >= ATTRIBUTES
    return dict(attributes) if full else {**attributes, **said}


def keep_attributes(received: Received) -> dict[str, Attribute]:
    """What a redrive leaves on a message: everything but the reason."""
    theirs = {n: value for n, value in received.attributes.items() if not n.startswith(OURS)}
    return mark_first(theirs, received)


def table_of(contents: Contents) -> str:
    """The table that contents are about; empty if they do not say."""
    if isinstance(contents, Chunk):
        return contents.table
    stream = stream_of(contents.value) if isinstance(contents, Record) else None
    return "" if stream is None else stream.table


def _read_count(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= 9 else None


def _explain(contents: Contents, moved: bool) -> tuple[str, str]:
    if isinstance(contents, Undecodable):
        return UNDECODABLE, contents.reason
    if moved:
        return MAX_RECEIVES, (
            "SQS moved it here after maxReceiveCount deliveries, none of which ended:"
            " look in the workers' logs for why"
        )
    return MAX_RECEIVES, "it came here without a reason: by hand, or imported"


def _kind(contents: Contents) -> str:
    match contents:
        case Chunk():
            return "changes"
        case Record():
            return "record"
        case Undecodable():
            return "undecodable"


def _keys(contents: Contents) -> Iterable[Item]:
    if isinstance(contents, Chunk):
        return (change.key for change in contents.changes)
    key = _record_key(contents.value) if isinstance(contents, Record) else None
    return () if key is None else (key,)


def _record_key(record: object) -> Item | None:
    """The key of a record that may be wrong in any way."""
    body = record.get("dynamodb") if isinstance(record, dict) else None
    key = body.get("Keys") if isinstance(body, dict) else None
    if not isinstance(key, dict) or not 1 <= len(key) <= 2:
        return None
    good = all(
        isinstance(typed, dict)
        and len(typed) == 1
        and all(isinstance(v, str) for v in typed.values())
        for typed in key.values()
    )
    return key if good else None


def _document_id(key: Item) -> str:
    try:
        return document_id(key)
    except RefusedError:
        return ""


def encode_attributes(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, str]]:
    """Attributes as JSON can carry them: binary values as base64."""
    return {
        name: {
            "DataType": str(a["DataType"]),
            **({"StringValue": str(a["StringValue"])} if "StringValue" in a else {}),
            **(
                {"BinaryValue": base64.b64encode(a["BinaryValue"]).decode()}
                if "BinaryValue" in a
                else {}
            ),
        }
        for name, a in attributes.items()
    }


def decode_attributes(fields: object) -> dict[str, Attribute]:
    """The inverse of `encode_attributes`. Raises ValueError for what it did not write."""
    if not isinstance(fields, dict):
        raise ValueError("'attributes' is no object")  # noqa: TRY004 - a file's content, not a call
    return {name: _decode_attribute(name, a) for name, a in fields.items()}


def _decode_attribute(name: str, fields: object) -> Attribute:
    texts = fields if isinstance(fields, dict) else {}
    if not all(isinstance(value, str) for value in texts.values()) or set(texts) not in (
        {"DataType", "StringValue"},
        {"DataType", "BinaryValue"},
    ):
        raise ValueError(f"the attribute {name!r:.80} is not in the form of an export")
    if "StringValue" in texts:
        return dict(texts)
    try:
        content = base64.b64decode(texts["BinaryValue"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"the attribute {name!r:.80} is no base64") from error
    return {"DataType": texts["DataType"], "BinaryValue": content}
