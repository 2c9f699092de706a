"""A change as the owner's handlers see it: typed images, and where and when it happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

ItemT = TypeVar("ItemT")

IndexFate: TypeAlias = Literal["applied", "obsolete", "unknown"]

_TIME_TO_LIVE: Final = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""userIdentity of a deletion by TTL (Amazon DynamoDB Developer Guide, DynamoDB Streams and Time
to Live). Its service writes the fields in either case."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a change comes from, and what became of it."""

    table: str
    key: Mapping[str, Any]
    """The item's key as Python values: str, int or Decimal, bytes."""
    time: datetime
    """UTC. DynamoDB floors it to the second."""
    sequence: str
    """SequenceNumber: of two changes of one item, the greater, as a number, is the later."""
    stream: str
    """Label of the table's stream: with `sequence`, the identity of the change."""
    region: str
    account: str
    expired: bool
    """Whether DynamoDB deleted the item because its time to live was over."""
    identity: Mapping[str, Any] | None
    """The record's userIdentity, if it has one."""
    index: IndexFate
    """`applied`: the index took it. `obsolete`: it holds, or held, something as new or newer.
    `unknown`: the change was redriven for this handler alone, or came in one chunk with a later one
    of its item that the index refused."""
    old_error: str = ""
    """Why `old` is None although the change carries an old image: the table's model, as it is now,
    refuses what the item was then. Empty otherwise."""


@dataclass(frozen=True, slots=True)
class Insert(Generic[ItemT]):
    """An item that was not there before."""

    new: ItemT
    meta: Metadata


@dataclass(frozen=True, slots=True)
class Modify(Generic[ItemT]):
    """An item that was changed."""

    new: ItemT
    old: ItemT | None
    """The item before, if the stream carries old images and SLUICE_OLD_IMAGES forwards them, and
    the model takes it: `meta.old_error`."""
    meta: Metadata


@dataclass(frozen=True, slots=True)
class Remove(Generic[ItemT]):
    """An item that was deleted. Its key is in `meta`."""

    old: ItemT | None
    """The item before, if the stream carries old images and SLUICE_OLD_IMAGES forwards them, and
    the model takes it: `meta.old_error`."""
    meta: Metadata


Event: TypeAlias = Insert[ItemT] | Modify[ItemT] | Remove[ItemT]


def is_expiry(identity: Mapping[str, Any] | None) -> bool:
    """Whether this userIdentity says that the item's time to live was over."""
    if identity is None:
        return False
    lower = {name.lower(): value for name, value in identity.items()}
    return all(lower.get(name.lower()) == value for name, value in _TIME_TO_LIVE.items())
