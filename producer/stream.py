"""A record of a DynamoDB stream, as Lambda delivers it, becomes a change. Pure.

Sources: AWS, *DynamoDB Streams* (`StreamRecord`, `Record`, `AttributeValue`) and *Using AWS Lambda
with Amazon DynamoDB*. Values are checked here, where the record is still at hand, so that one bad
record is dead-lettered alone and cannot spoil the chunk it would have travelled in.
"""

import binascii
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, cast

from producer.contract import Change, ContractError, Item, Kind, Stream, parse_stream_arn
from producer.errors import ConfigurationError, UnreadableRecordError

NUMBER_CHARACTERS: Final = 256
"""A number written out in full has at most 126 + 130 digits (AWS: up to 9.99E+125, down to
1E-130, 38 of them significant)."""

NESTING: Final = 64
"""DynamoDB nests 32 levels deep; anything beyond twice that is no item."""

_EVENTS: Final = frozenset({"INSERT", "MODIFY", "REMOVE"})
_LACKING_VIEWS: Final = frozenset({"KEYS_ONLY", "OLD_IMAGE"})
_KEY_TYPES: Final = frozenset({"S", "N", "B"})
_SEQUENCE = re.compile(r"[0-9]{1,40}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_SECONDS_END: Final = 10**11 - 1
_stream = lru_cache(maxsize=64)(parse_stream_arn)


class _WrongValue(ValueError):  # noqa: N818 - a signal inside this module, never seen outside
    """What is wrong with a typed value, without the value."""


def read_record(record: object, *, old_images: bool = False) -> tuple[Stream, Change]:
    """The change in a record, and the stream it comes from.

    old_images: take the old image along, if the record has one.
    Raises UnreadableRecordError for what is no stream record of DynamoDB, and ConfigurationError
    if the stream does not carry new images.
    """
    fields = _dict(record, "the record")
    source = fields.get("eventSource")
    if source != "aws:dynamodb":
        raise UnreadableRecordError(f"eventSource is {_short(source)}, not aws:dynamodb")
    stream = _read_stream(fields.get("eventSourceARN"))
    kind = fields.get("eventName")
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise UnreadableRecordError(f"eventName is {_short(kind)}: no INSERT, MODIFY or REMOVE")
    body = _dict(fields.get("dynamodb"), "'dynamodb'")
    check_view(stream, body.get("StreamViewType"))
    sequence = body.get("SequenceNumber")
    if not isinstance(sequence, str) or not _SEQUENCE.fullmatch(sequence):
        raise UnreadableRecordError("SequenceNumber is missing or no text of 1 to 40 digits")
    return stream, Change(
        kind=cast("Kind", kind),
        key=_read_key(body.get("Keys")),
        at=_read_time(body.get("ApproximateCreationDateTime")),
        sequence=sequence,
        new=None if kind == "REMOVE" else _read_image(body, "NewImage"),
        old=_read_image(body, "OldImage") if old_images and "OldImage" in body else None,
        identity=_read_identity(fields.get("userIdentity")),
    )


def check_view(stream: Stream, view: object) -> None:
    """Raise ConfigurationError if a stream of this view type lacks new images."""
    if view not in _LACKING_VIEWS:
        return
    raise ConfigurationError(
        f"the stream of table {stream.table!r} carries {view}, so what an item became is not in "
        "it. Remedy: a stream's view type cannot be changed, so switch the stream off and on "
        "anew: UpdateTable with StreamSpecification {StreamEnabled: false}, then with "
        "{StreamEnabled: true, StreamViewType: NEW_IMAGE} (or NEW_AND_OLD_IMAGES); subscribe this "
        "function to the new stream's ARN; then backfill the table, for what changed in between"
    )


def sequence_of(record: object) -> str | None:
    """The sequence number of any record, readable or not, that Lambda can be told of."""
    body = record.get("dynamodb") if isinstance(record, dict) else None
    sequence = body.get("SequenceNumber") if isinstance(body, dict) else None
    return sequence if isinstance(sequence, str) and _SEQUENCE.fullmatch(sequence) else None


def stream_of(record: object) -> Stream | None:
    """The stream of any record, readable or not, if its ARN can be read."""
    try:
        return _read_stream(record.get("eventSourceARN") if isinstance(record, dict) else None)
    except UnreadableRecordError:
        return None


def _read_stream(arn: object) -> Stream:
    try:
        return _stream(arn if isinstance(arn, str) else "")
    except ContractError as error:
        raise UnreadableRecordError(f"eventSourceARN: {error}") from error


def _read_key(value: object) -> Item:
    key = _read_item(_dict(value, "Keys"), "Keys")
    if not 1 <= len(key) <= 2:
        raise UnreadableRecordError(f"Keys has {len(key)} attributes, not 1 or 2")
    for name, typed in key.items():
        if not _KEY_TYPES.issuperset(typed):
            raise UnreadableRecordError(f"Keys, attribute {_short(name)}: no S, N or B")
    return key


def _read_image(body: dict[str, Any], field: str) -> Item:
    return _read_item(_dict(body.get(field), field), field)


def _read_item(item: dict[str, Any], field: str) -> Item:
    for name, typed in item.items():
        if type(typed) is dict and len(typed) == 1 and type(typed.get("S")) is str:
            continue  # most attributes are: half of a check is its call
        try:
            _check(typed, 0)
        except _WrongValue as error:
            raise UnreadableRecordError(f"{field}, attribute {_short(name)}: {error}") from None
    return item


def _read_time(seconds: object) -> int:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise UnreadableRecordError("ApproximateCreationDateTime is missing or no number")
    if not 0 <= seconds < _SECONDS_END:  # false for NaN, too
        raise UnreadableRecordError("ApproximateCreationDateTime is no time in seconds")
    return round(seconds * 1000)


def _read_identity(identity: object) -> dict[str, Any] | None:
    """Texts only: should AWS ever add another kind of field, it is left out, not refused."""
    if identity is None:
        return None
    fields = _dict(identity, "userIdentity")
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _dict(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnreadableRecordError(f"{name} is no object but {type(value).__name__}")
    return value


def _short(value: object) -> str:
    """A name for an error. Only ever given names and words of the record, not values."""
    return f"{value!r:.80}" if isinstance(value, str) else type(value).__name__


def _check(typed: object, depth: int) -> None:
    """Raise _WrongValue unless this is one typed value. Runs for each attribute of each record."""
    if type(typed) is not dict or len(typed) != 1:
        raise _WrongValue("not exactly one type")
    ((kind, value),) = typed.items()
    if kind == "S":
        if type(value) is not str:
            raise _WrongValue("an S that is no text")
    elif kind == "N":
        _check_number(value)
    else:
        check = _CHECKS.get(kind)
        if check is None:
            raise _WrongValue(f"unknown type {_short(kind)}")
        check(value, depth)


def _check_number(value: object) -> None:
    if type(value) is not str or len(value) > NUMBER_CHARACTERS or not _NUMBER.fullmatch(value):
        raise _WrongValue("an N that is no number written as text")


def _check_binary(value: object) -> None:
    if type(value) is not str:
        raise _WrongValue("a B that is no text")
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise _WrongValue("a B that is no base64") from None


def _check_text(value: object) -> None:
    if type(value) is not str:
        raise _WrongValue("an SS with something else than text in it")


def _check_each(kind: str, check: Callable[[object], None]) -> Callable[[object, int], None]:
    def run(value: object, depth: int) -> None:
        if type(value) is not list:
            raise _WrongValue(f"{kind} that is no list")
        for element in value:
            check(element)

    return run


def _check_list(value: object, depth: int) -> None:
    if type(value) is not list:
        raise _WrongValue("an L that is no list")
    _check_all(value, depth)


def _check_map(value: object, depth: int) -> None:
    if type(value) is not dict:
        raise _WrongValue("an M that is no object")
    _check_all(value.values(), depth)


def _check_all(values: Iterable[object], depth: int) -> None:
    if depth >= NESTING:
        raise _WrongValue(f"nested deeper than {NESTING} levels")
    for typed in values:
        if type(typed) is dict and len(typed) == 1 and type(typed.get("S")) is str:
            continue
        _check(typed, depth + 1)


def _check_bool(value: object, depth: int) -> None:
    if type(value) is not bool:
        raise _WrongValue("a BOOL that is neither true nor false")


def _check_null(value: object, depth: int) -> None:
    if value is not True:
        raise _WrongValue("a NULL that is not true")


_CHECKS: Final[dict[str, Callable[[object, int], None]]] = {
    "B": lambda value, depth: _check_binary(value),
    "SS": _check_each("an SS", _check_text),
    "NS": _check_each("an NS", _check_number),
    "BS": _check_each("a BS", _check_binary),
    "M": _check_map,
    "L": _check_list,
    "BOOL": _check_bool,
    "NULL": _check_null,
}
