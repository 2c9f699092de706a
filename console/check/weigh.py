"""How large documents and messages would be. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from producer.chunks import Limits, Packed, Packer
from producer.contract import Change, ContractError, Item, write_envelope

QUEUE: Final = "sluice-changes"
"""Stands for the queue's name, which an envelope repeats."""

_STREAM: Final = "arn:aws:dynamodb:us-east-1:123456789012:table/{}/stream/2024-01-01T00:00:00.000"
_AT_MS: Final = 1_704_067_200_000
_SEQUENCE: Final = 10**24


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of several things."""

    count: int
    p50: int
    p99: int
    most: int


@dataclass(frozen=True, slots=True)
class Messages:
    """What would go through the queue if each item changed once."""

    changes: int
    bytes: Sizes
    """Of the messages, all counted, as SQS counts them."""
    claim_checks: int
    """Changes whose images would travel through S3."""
    unsendable: int
    """Items that no message carries; DynamoDB holds none of this kind."""


def measure(sizes: Iterable[int]) -> Sizes | None:
    """Percentiles by nearest rank; None of nothing."""
    ordered = sorted(sizes)
    if not ordered:
        return None
    return Sizes(len(ordered), _rank(ordered, 0.5), _rank(ordered, 0.99), ordered[-1])


def weigh_messages(
    table: str, items: Sequence[tuple[Item, Item]], limits: Limits, *, old_images: bool
) -> Messages | None:
    """The messages that changes of these items, each a key and the item, would become.

    old_images: each change carries the item twice. None of no items.
    """
    packer = Packer(limits)
    packed: list[Packed] = []
    unsendable = 0
    for place, (key, item) in enumerate(items):
        old = item if old_images else None
        change = Change("MODIFY", key, _AT_MS, str(_SEQUENCE + place), new=item, old=old)
        try:
            packed += packer.add(table, _STREAM.format(table), change, place)
        except ContractError:
            unsendable += 1
    packed += packer.close()
    sizes = measure(len(write_envelope(one.payload, QUEUE).encode()) for one in packed)
    if sizes is None:
        return None
    return Messages(
        changes=sum(len(one.places) for one in packed),
        bytes=sizes,
        claim_checks=sum(len(one.objects) for one in packed),
        unsendable=unsendable,
    )


def _rank(ordered: Sequence[int], share: float) -> int:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
