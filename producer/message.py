"""An SQS message before it is sent: its text, its attributes, the bytes SQS will count. Pure.

Source: Amazon SQS, *SendMessage* and *Message attributes*: a message is counted with the name,
type and value of each attribute.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from producer.chunks import StoredObject

BATCH_ENTRIES: Final = 10
"""Most messages in one SendMessageBatch."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, and what it stands for."""

    url: str
    """Of its queue."""
    body: str
    places: tuple[int, ...]
    """Which records of the event it carries, ascending; at least one."""
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """As SQS takes them; see `contract.write_attributes`."""
    objects: tuple[StoredObject, ...] = ()
    """To be stored before it is sent."""
    task: str = ""
    """The id of the worker's task that it will be; empty for a dead letter."""


def count_bytes(message: Message) -> int:
    """What SQS counts against both of its limits."""
    attributes = sum(
        len(name) + len(attribute["DataType"]) + len(attribute["StringValue"].encode())
        for name, attribute in message.attributes.items()
    )
    return len(message.body.encode()) + attributes


def group_messages(messages: Iterable[Message], batch_bytes: int) -> list[list[Message]]:
    """Messages in batches that SendMessageBatch takes: one queue, ten entries, `batch_bytes`.

    Their order stays, except that a message may overtake those for another queue.
    """
    batches: list[list[Message]] = []
    current: dict[str, tuple[list[Message], int]] = {}
    for message in messages:
        size = count_bytes(message)
        batch, filled = current.get(message.url, ([], 0))
        if not batch or len(batch) == BATCH_ENTRIES or filled + size > batch_bytes:
            batch, filled = [], 0
            batches.append(batch)
        batch.append(message)
        current[message.url] = (batch, filled + size)
    return batches
