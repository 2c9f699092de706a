"""The message between producer and worker: its fields, its version, its encoding.

The producer owns this language; the worker imports this module and nothing else of the
producer. It needs the standard library alone.

Layers, outermost first:

1. An SQS message body: a Celery task message, protocol 2, as kombu's SQS transport reads it: the
   outer body is plain JSON text, the inner body a JSON text of exactly ``[args, kwargs, embed]``.
   `write_envelope` writes it by hand, so that the Lambda needs no Celery.
2. Its single argument, the *payload*: the text ``"<version>:<base64 of zlib of JSON>"``.
3. The JSON, UTF-8: a *chunk* (task `CHANGES_TASK`) or a stream record that nobody could read
   (task `RECORD_TASK`).

A chunk::

    {"table":   "posts",                  name of the table all its changes belong to
     "stream":  "arn:aws:dynamodb:...",   ARN of the stream; null for reads of the table
     "handler": "mailer",                 if present: for this handler alone, not the index
     "changes": [change, ...]}            at least one

A change::

    {"kind":     "INSERT" | "MODIFY" | "REMOVE" | "READ",
     "key":      {"id": {"S": "1"}},      the item's key, typed as DynamoDB wrote it
     "at":       1700000000000,           milliseconds since the epoch: time of the change, or,
                                          for a READ, the time R just before the consistent read
     "sequence": "100000000000000000001", SequenceNumber; absent for a READ
     "new":      {...},                   typed image after the change; absent for a REMOVE and for
                                          a READ that found no item
     "old":      {...},                   typed image before it, if the producer forwards old images
     "identity": {...},                   the record's userIdentity, e.g. of a deletion by TTL
     "overflow": {"key": "...",           instead of new and old: they lie in the overflow bucket
                  "bytes": 1234567}}      under this key, as zlib-compressed JSON of so many bytes

Unknown fields are ignored, so a later producer may add one that a reader can do without. A field
that changes the meaning of the others needs a new version.
"""

import base64
import binascii
import json
import re
import string
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias, cast

VERSION: Final = 1
"""Version this module writes. It reads this one and the one before it (there is none yet)."""
CHANGES_TASK: Final = "sluice.changes"
"""Celery task that takes a chunk."""
RECORD_TASK: Final = "sluice.record"
"""Celery task that takes a stream record nobody could read. It only ever waits for a person."""

INFLATED_BYTES: Final = 16 * 1024 * 1024
"""Bound on what is inflated. Two typed images of a 400 KB item fit 6 MB, Lambda's own limit."""

ERROR_ATTRIBUTE: Final = "sluice-error"
REASON_ATTRIBUTE: Final = "sluice-reason"
TABLE_ATTRIBUTE: Final = "sluice-table"
INDEX_ATTRIBUTE: Final = "sluice-index"
ID_ATTRIBUTE: Final = "sluice-id"
ORIGIN_ATTRIBUTE: Final = "sluice-origin"
AT_ATTRIBUTE: Final = "sluice-at"
RECEIVES_ATTRIBUTE: Final = "sluice-receives"
FIRST_ATTRIBUTE: Final = "sluice-first"
"""Message attributes of a dead letter: error class, reason in words, table, index, document id,
who refused it (`producer` or `worker`), when; how often its message was received before, and when
it was first sent, which stays on it through redrives (times are ISO 8601, UTC)."""
REASON_BYTES: Final = 2_048
"""A reason is cut to so many bytes of UTF-8."""

DEAD_LETTER_RESERVE_BYTES: Final = 6 * 1024
"""Room left in each message, so that with all those attributes it stays under the same limit."""

Kind: TypeAlias = Literal["INSERT", "MODIFY", "REMOVE", "READ"]
Item: TypeAlias = dict[str, dict[str, Any]]
"""A typed item, image or key: ``{"name": {"S": "Ann"}}``; binaries as base64 text."""

KINDS: Final[frozenset[str]] = frozenset({"INSERT", "MODIFY", "REMOVE", "READ"})
_SEQUENCE = re.compile(r"[0-9]{1,40}", re.ASCII)
_ILLEGAL: Final = "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""Compiled where it is first needed: it takes as long as a quarter of the producer's import."""
_PLAIN = (string.ascii_letters + string.digits + ":+/=").encode()  # what payloads are made of
_KEY_TYPES = frozenset({"S", "N", "B"})
_STREAM = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):dynamodb:(?P<region>[a-z0-9-]*):(?P<account>[0-9]*)"
    r":table/(?P<table>[A-Za-z0-9_.-]+)/stream/(?P<label>[0-9T:.-]+)",
    re.ASCII,
)


class ContractError(ValueError):
    """A payload that this version cannot read. The whole message goes to the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Where a stream's ARN says it comes from."""

    arn: str
    partition: str
    region: str
    account: str
    table: str
    label: str
    """Creation time of the stream, ISO 8601: it orders streams of one table."""


@dataclass(frozen=True, slots=True)
class Overflow:
    """A claim check: the images of one change, in the overflow bucket."""

    key: str
    bytes: int
    """Length of the JSON once inflated."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one item, or one consistent read of it. Fields: see the module."""

    kind: Kind
    key: Item
    at: int
    sequence: str | None = None
    new: Item | None = None
    old: Item | None = None
    identity: Mapping[str, Any] | None = None
    overflow: Overflow | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Changes of one table, from one stream or from reads of the table."""

    table: str
    stream: str | None
    changes: tuple[Change, ...]
    handler: str | None = None


def parse_stream_arn(arn: str) -> Stream:
    """Split a stream's ARN, of any partition and any legal table name. Raises ContractError."""
    match = _STREAM.fullmatch(arn) if isinstance(arn, str) else None
    if match is None:
        raise ContractError(f"not the ARN of a DynamoDB stream: {arn!r:.200}")
    return Stream(arn=arn, **match.groupdict())


def write_json(value: object) -> bytes:
    """Compact JSON in UTF-8. Raises ContractError for text that UTF-8 cannot carry."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ContractError(f"text that is no valid Unicode: {error.reason}") from error


def write_change(change: Change, dumps: Callable[[object], bytes] = write_json) -> bytes:
    """Serialise one change, once. dumps: `write_json`, or what writes and raises the same."""
    fields: dict[str, Any] = {"kind": change.kind, "key": change.key, "at": change.at}
    for name in ("sequence", "new", "old", "identity"):
        value = getattr(change, name)
        if value is not None:
            fields[name] = value
    if change.overflow is not None:
        fields["overflow"] = {"key": change.overflow.key, "bytes": change.overflow.bytes}
    return dumps(fields)


def write_images(change: Change) -> bytes:
    """Serialise what a claim check stands for: the images of one change."""
    return write_json({"new": change.new, "old": change.old})


def read_images(change: Change, content: bytes) -> Change:
    """Put the images of an overflow object back into their change.

    content: the object as stored. Raises ContractError if it is not what the change names.
    """
    fields = _object(_parse(inflate(content), json.loads), "overflow object")
    return replace(change, new=_image(fields, "new"), old=_image(fields, "old"), overflow=None)


def chunk_frame(table: str, stream: str | None, handler: str | None = None) -> tuple[bytes, bytes]:
    """What stands before and after the comma-separated changes of a chunk."""
    fields = {"table": table, "stream": stream} | ({"handler": handler} if handler else {})
    return write_json(fields)[:-1] + b',"changes":[', b"]}"


def write_payload(compressed: bytes) -> str:
    """The task's argument, from the zlib-compressed JSON."""
    return f"{VERSION}:{base64.b64encode(compressed).decode('ascii')}"


def write_envelope(payload: str, queue: str, task: str = CHANGES_TASK, id: str = "") -> str:
    """The SQS message body that makes a worker run `task` with `payload`.

    queue: the worker's queue name: acknowledging fails under any other routing key.
    id: the task's id; a new one where it is empty.
    """
    plain = payload.isascii() and not payload.encode().translate(None, _PLAIN)
    call = json.dumps([["" if plain else payload], {}, {}], separators=(",", ":"))
    fields = {
        "body": call,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": id or str(uuid.uuid4())},
        "properties": {"delivery_info": {"exchange": "", "routing_key": queue}},
    }
    written = json.dumps(fields, separators=(",", ":"))
    # Looking twice for what there is to escape would cost as much as compressing it did.
    return written.replace('\\"\\"', f'\\"{payload}\\"', 1) if plain else written


def envelope_bytes(queue: str, compressed: int = 0) -> int:
    """Bytes on the wire of the message of a chunk, from the length of its compressed JSON."""
    empty = write_envelope("", queue, id=str(uuid.UUID(int=0)))
    return len(empty) + payload_bytes(compressed)


def queue_name(queue_url: str) -> str:
    """The name of a queue, which is its routing key, from its URL."""
    return queue_url.rstrip("/").rpartition("/")[2]


def write_attributes(**values: str) -> dict[str, dict[str, str]]:
    """Message attributes of a dead letter, from their names without ``sluice-``.

    Empty values are left out, long ones cut to REASON_BYTES, and characters replaced that SQS
    refuses (Amazon SQS API reference, SendMessage).
    """
    legal = {
        name: re.sub(_ILLEGAL, "\ufffd", value).encode() for name, value in values.items() if value
    }
    cut = {name: text[:REASON_BYTES].decode(errors="ignore") for name, text in legal.items()}
    return {
        f"sluice-{name}": {"DataType": "String", "StringValue": text} for name, text in cut.items()
    }


def payload_bytes(compressed: int) -> int:
    """Length of `write_payload`'s answer for so many compressed bytes."""
    return len(f"{VERSION}:") + 4 * ((compressed + 2) // 3)


def encode_chunk(chunk: Chunk, level: int = 6) -> str:
    """A chunk as a payload, whatever its size. `producer.chunks` is the way that counts bytes."""
    head, tail = chunk_frame(chunk.table, chunk.stream, chunk.handler)
    body = head + b",".join(write_change(change) for change in chunk.changes) + tail
    return write_payload(zlib.compress(body, level))


def encode_record(record: object, level: int = 6) -> str:
    """A stream record nobody could read, as a payload. Any JSON value, lone surrogates included."""
    return write_payload(zlib.compress(json.dumps(record, separators=(",", ":")).encode(), level))


def read_payload(payload: object, library: ModuleType = zlib) -> bytes:
    """The JSON inside a payload, still as bytes. Raises ContractError if it is no payload, of a
    version this module cannot read, or too long. library: as for `inflate`."""
    if not isinstance(payload, str):
        raise ContractError(f"the payload is no text but {type(payload).__name__}")
    version, colon, text = payload.partition(":")
    if not colon or not version.isdecimal() or not version.isascii() or len(version) > 9:
        raise ContractError("the payload does not start with a version")
    if int(version) != VERSION:
        raise ContractError(f"payload of version {version}; this worker reads {VERSION}")
    try:
        compressed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContractError(f"the payload is no base64: {error}") from error
    return inflate(compressed, library)


def inflate(compressed: bytes, library: ModuleType = zlib) -> bytes:
    """Decompress, refusing to hold more than INFLATED_BYTES. Raises ContractError. library: stands
    in for zlib, where a faster one is at hand."""
    inflater = library.decompressobj()
    try:
        content: bytes = inflater.decompress(compressed, INFLATED_BYTES + 1)
    except library.error as error:
        raise ContractError(f"not zlib: {error}") from error
    if len(content) > INFLATED_BYTES:
        raise ContractError(f"longer than {INFLATED_BYTES} bytes once inflated")
    if not inflater.eof or inflater.unused_data:
        raise ContractError("the compressed data is cut off or has something behind it")
    return content


def decode_chunk(
    payload: object, *, loads: Callable[[bytes], Any] = json.loads, library: ModuleType = zlib
) -> Chunk:
    """The chunk in a payload: the inverse of `encode_chunk`.

    loads: another JSON parser, where a faster one is at hand. library: as for `inflate`.
    Raises ContractError, naming the field that is wrong.
    """
    fields = _object(_parse(read_payload(payload, library), loads), "chunk")
    table, stream, changes = fields.get("table"), fields.get("stream"), fields.get("changes")
    if not isinstance(table, str) or not table:
        raise ContractError("chunk without the name of a table")
    if stream is not None and parse_stream_arn(stream).table != table:
        raise ContractError(f"the stream of another table: {stream!r:.200}")
    if not isinstance(changes, list) or not changes:
        raise ContractError("chunk without changes")
    handler = fields.get("handler")
    if handler is not None and not (isinstance(handler, str) and handler):
        raise ContractError(f"'handler' is no name: {handler!r:.80}")
    return Chunk(table, stream, tuple(_read_changes(changes, live=stream is not None)), handler)


def decode_record(payload: object) -> object:
    """The stream record in a payload: the inverse of `encode_record`. Raises ContractError."""
    return _parse(read_payload(payload), json.loads)


def _read_changes(changes: list[object], live: bool) -> Iterable[Change]:
    for place, fields in enumerate(changes):
        try:
            yield _read_change(_object(fields, "change"), live)
        except ContractError as error:
            raise ContractError(f"change {place}: {error}") from error


def _read_change(fields: dict[str, Any], live: bool) -> Change:
    kind, at, sequence = fields.get("kind"), fields.get("at"), fields.get("sequence")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ContractError(f"unknown kind {kind!r:.40}")
    if (kind != "READ") != live:
        raise ContractError(f"a {kind} {'inside' if live else 'outside'} a stream")
    if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < 10**14:
        raise ContractError(f"'at' is no time in milliseconds: {at!r:.40}")
    if live and not (isinstance(sequence, str) and _SEQUENCE.fullmatch(sequence)):
        raise ContractError(f"'sequence' is no sequence number: {sequence!r:.60}")
    new, old = _image(fields, "new"), _image(fields, "old")
    identity, overflow = fields.get("identity"), fields.get("overflow")
    if new is None and overflow is None and kind in ("INSERT", "MODIFY"):
        raise ContractError(f"a {kind} without its new image")
    if kind == "REMOVE" and new is not None:
        raise ContractError("a REMOVE with a new image")
    return Change(
        kind=cast("Kind", kind),
        key=_key(fields.get("key")),
        at=at,
        sequence=sequence if live else None,
        new=new,
        old=old,
        identity=None if identity is None else _object(identity, "identity"),
        overflow=None if overflow is None else _overflow(_object(overflow, "overflow")),
    )


def _overflow(fields: dict[str, Any]) -> Overflow:
    key, size = fields.get("key"), fields.get("bytes")
    if not isinstance(key, str) or not 0 < len(key) <= 1024:
        raise ContractError("overflow without the key of an object")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= INFLATED_BYTES:
        raise ContractError(f"overflow of an impossible size: {size!r:.40}")
    return Overflow(key, size)


def _key(value: object) -> Item:
    key = _item(value, "key")
    if not 1 <= len(key) <= 2:
        raise ContractError(f"a key of {len(key)} attributes")
    for name, typed in key.items():
        ((kind, text),) = typed.items()
        if kind not in _KEY_TYPES or not isinstance(text, str):
            raise ContractError(f"key attribute {name!r:.80} is no S, N or B")
    return key


def _image(fields: dict[str, Any], name: str) -> Item | None:
    return None if fields.get(name) is None else _item(fields[name], name)


def _item(value: object, name: str) -> Item:
    fields = _object(value, name)
    for typed in fields.values():
        if not isinstance(typed, dict) or len(typed) != 1:
            raise ContractError(f"'{name}' is no typed item")
    return fields


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ContractError(f"{name} is no object but {type(value).__name__}")
    return value


def _parse(content: bytes, loads: Callable[[bytes], Any]) -> object:
    try:
        return loads(content)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"not JSON: {error!s:.200}") from error
