"""A record that nobody can read becomes a message of the dead-letter queue. Pure.

The record travels as it is. Redriven to the main queue, it reaches the worker as a task of its
own, which only ever puts it back: such a record waits for a person, or for a later release.
"""

import hashlib
import json
import zlib
from datetime import datetime
from typing import Final

from producer.chunks import LEVEL, Limits, StoredObject
from producer.contract import (
    RECORD_TASK,
    encode_record,
    payload_bytes,
    write_attributes,
    write_envelope,
)
from producer.message import Message
from producer.stream import stream_of

ERROR: Final = "UnreadableRecord"
"""Error class of every dead letter that the producer writes."""


def write_dead_letter(
    record: object, reason: str, place: int, *, url: str, queue: str, limits: Limits, at: datetime
) -> Message:
    """The message that carries `record` to the dead-letter queue at `url`.

    queue: name of the main queue, where a redrive takes it. A record too large for a message
    goes to the overflow bucket; the message then holds ``{"overflow": {"key", "bytes"}}``.
    """
    stream = stream_of(record)
    payload = encode_record(record)
    objects: tuple[StoredObject, ...] = ()
    if len(payload) > payload_bytes(limits.compressed):
        payload, stored = _set_aside(record)
        objects = (stored,)
    return Message(
        url=url,
        body=write_envelope(payload, queue, RECORD_TASK),
        places=(place,),
        attributes=write_attributes(
            error=ERROR,
            reason=reason,
            table="" if stream is None else stream.table,
            origin="producer",
            at=at.isoformat(timespec="milliseconds"),
        ),
        objects=objects,
    )


def _set_aside(record: object) -> tuple[str, StoredObject]:
    content = json.dumps(record, separators=(",", ":")).encode()
    stored = StoredObject(
        f"unreadable/{hashlib.sha256(content).hexdigest()}", zlib.compress(content, LEVEL)
    )
    claim = {"overflow": {"key": stored.key, "bytes": len(content)}}
    return encode_record(claim), stored
