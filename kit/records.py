"""Records of a DynamoDB stream, as Lambda delivers them, from models or dicts.

Sources: AWS, *Using AWS Lambda with Amazon DynamoDB* (the example event), *DynamoDB Streams*
(`StreamRecord`), *DynamoDB Streams and Time to Live* (`userIdentity`).
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from kit.errors import UnwritableItemError
from kit.typed import check_item, count_bytes, extract_key, same, write_item
from producer.contract import Item
from worker.tables import Table

Record: TypeAlias = dict[str, Any]
View: TypeAlias = Literal["NEW_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY", "OLD_IMAGE"]
Key: TypeAlias = str | tuple[str, ...]

ItemT = TypeVar("ItemT")

FIRST_SEQUENCE: Final = 10**21 - 5
"""DynamoDB's have 21 to 40 digits. The first few here have 21 and all later ones 22, so code that
compares them as text goes wrong at once."""

LABEL: Final = "2024-01-01T00:00:00.000"
REGION: Final = "eu-west-1"
ACCOUNT: Final = "123456789012"

TIME_TO_LIVE: Final = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""`userIdentity` of what DynamoDB deletes by itself."""


def event(*records: Record) -> dict[str, list[Record]]:
    """The event that Lambda hands to the function for these records."""
    return {"Records": list(records)}


@dataclass(slots=True)
class Records(Generic[ItemT]):
    """Makes the records of one table's stream, each later than the one before.

    An item is a model, or a mapping of the table's attributes: `kit.typed.write_item` says what
    becomes of either. The methods raise UnwritableItemError for what DynamoDB would not take.
    """

    table: Table[ItemT]
    key: tuple[str, ...]
    """The table's key attributes: of the partition, and of the order within it if there is one."""
    view: View = "NEW_AND_OLD_IMAGES"
    """What the stream carries."""
    clock: Callable[[], float] = time.time
    """Seconds since the epoch. A record's time is floored to the second, as DynamoDB's is."""
    label: str = LABEL
    """The stream's creation time, at the end of its ARN."""
    last: int = field(default=FIRST_SEQUENCE - 1)
    """The last sequence number given."""

    @classmethod
    def of(
        cls,
        table: Table[ItemT],
        key: Key,
        *,
        view: View = "NEW_AND_OLD_IMAGES",
        clock: Callable[[], float] = time.time,
        label: str = LABEL,
    ) -> "Records[ItemT]":
        """Records of a table with that key: `"id"`, or `("author", "number")`."""
        names = (key,) if isinstance(key, str) else tuple(key)
        return cls(table, names, view, clock, label)

    @property
    def arn(self) -> str:
        """The stream's ARN."""
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.table.name}/stream/{self.label}"

    def insert(self, new: ItemT | Mapping[str, Any]) -> Record:
        """An item that was not there before."""
        return self.record("INSERT", new=self.write(new))

    def modify(self, old: ItemT | Mapping[str, Any], new: ItemT | Mapping[str, Any]) -> Record:
        """An item that was changed, under one key."""
        before, after = self.write(old), self.write(new)
        if not same(*(extract_key(item, self.key) for item in (before, after))):
            raise UnwritableItemError(
                "the items have another key each: that is a remove, an insert"
            )
        return self.record("MODIFY", new=after, old=before)

    def remove(self, old: ItemT | Mapping[str, Any]) -> Record:
        """An item that somebody deleted."""
        return self.record("REMOVE", old=self.write(old))

    def expire(self, old: ItemT | Mapping[str, Any]) -> Record:
        """An item that DynamoDB deleted, because its time to live was over."""
        return self.record("REMOVE", old=self.write(old), expired=True)

    def write(self, item: Any) -> Item:
        """The typed item, if the table would take it."""
        written = write_item(item)
        check_item(written, self.key)
        return written

    def record(
        self, kind: str, *, new: Item | None = None, old: Item | None = None, expired: bool = False
    ) -> Record:
        """A record from typed images. Which of them it carries is the view's choice."""
        self.last += 1
        sequence = str(self.last)
        keys = extract_key(new or old or {}, self.key)
        images = {}
        if new is not None and self.view.startswith("NEW"):
            images["NewImage"] = new
        if old is not None and self.view in ("NEW_AND_OLD_IMAGES", "OLD_IMAGE"):
            images["OldImage"] = old
        return {
            "eventID": hashlib.md5(sequence.encode(), usedforsecurity=False).hexdigest(),
            "eventName": kind,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": {
                "ApproximateCreationDateTime": math.floor(self.clock()),
                "Keys": keys,
                **images,
                "SequenceNumber": sequence,
                "SizeBytes": sum(map(count_bytes, (keys, *images.values()))),
                "StreamViewType": self.view,
            },
            "eventSourceARN": self.arn,
            **({"userIdentity": dict(TIME_TO_LIVE)} if expired else {}),
        }
