"""The table read consistently: page by page of a segment, or by keys, within a given rate."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from console.aws import explain_aws
from console.clocks import check_clock, measure_ahead, read_date
from console.errors import InterruptedByUserError
from console.rates import LIKELY_ITEM, Budget, Costs, page_items
from producer.contract import Item
from worker.identity import key_text
from worker.source import BATCH
from worker.wire import from_wire, to_wire, wire_items

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

TRIES: Final = 8
"""For faults of the network or the service. Throttling is no fault and is waited out."""

BACKOFF_S: Final = 0.1
BACKOFF_MOST_S: Final = 10.0

_THROTTLING: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "Throttling",
    }
)


@dataclass(frozen=True, slots=True)
class Page:
    """Items of one scan call."""

    items: list[Item]
    read_ms: int
    """R: just before the call that returned them."""
    after: Item | None
    """Where to go on; None at the segment's end."""


@dataclass
class Meter:
    """Keeps readers within a rate, and counts what they spend. Shared by threads."""

    rate: float | None
    """Read units a second; None: as fast as the table answers."""
    readers: int = 1
    clock: Callable[[], float] = time.monotonic
    units: float = 0.0
    throttled: int = 0
    """Calls that the table answered with "too fast"."""
    _costs: Costs = field(default_factory=Costs)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _budget: Budget | None = None

    def __post_init__(self) -> None:
        if self.rate is not None:
            self._budget = Budget.open(self.rate, self.clock())

    def page_items(self) -> int | None:
        """How many items the next page may ask for; None: no limit."""
        if self.rate is None:
            return None
        with self._lock:
            return page_items(self.rate, self.readers, self._costs.each)

    def reserve(self, items: int) -> tuple[float, float]:
        """Estimated units of a call for so many items, and the seconds to wait before it."""
        with self._lock:
            if self._budget is None:
                return 0.0, 0.0
            each = self._costs.each
            units = items * (LIKELY_ITEM if each is None else each)
            return units, self._budget.reserve(units, self.clock())

    def settle(self, reserved: float, spent: float, items: int) -> None:
        """What the call did cost."""
        with self._lock:
            self.units += spent
            self._costs.add(items, spent)
            if self._budget is not None:
                self._budget.settle(reserved, spent, self.clock())


@dataclass
class TableReader:
    """Reads one table. One client for all threads: boto3's clients may be shared."""

    client: "DynamoDBClient"
    table: str
    keys: tuple[str, ...]
    """The table's key attributes."""
    meter: Meter
    clock_ms: Callable[[], int]
    stop: threading.Event = field(default_factory=threading.Event)
    margin_s: int | None = None
    """How far this clock and the table's may be apart; None: they are not compared."""

    def key_of(self, item: Item) -> Item:
        """The key within an item."""
        return {name: item[name] for name in self.keys}

    def scan(
        self, segment: int, segments: int, after: Item | None, most: int | None = None
    ) -> Page:
        """One page of a segment, read consistently, beginning after a key.

        Waits until the limit allows it, and through throttling. Raises UnavailableError when the
        table does not answer, MisuseError when it never will or the clock is wrong,
        InterruptedByUserError.
        """
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "Segment": segment,
            "TotalSegments": segments,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if after is not None:
            request["ExclusiveStartKey"] = from_wire(after)
        limit = self.meter.page_items()
        if limit is not None or most is not None:
            request["Limit"] = min(n for n in (limit, most) if n is not None)
        answer, read_ms = self._ask(self.client.scan, request, request.get("Limit", 0))
        items = wire_items(answer, answer["Items"])
        last = answer.get("LastEvaluatedKey")
        return Page(items, read_ms, to_wire(last) if last else None)

    def read(
        self, keys: Sequence[Item], *, keys_only: bool = False
    ) -> tuple[list[Item | None], int]:
        """What the table holds under each key, read consistently, and R. Raises as `scan` does.

        keys_only: of each item its key alone; it costs the table the same.
        """
        unique = {key_text(key): key for key in keys}
        found: dict[str, Item] = {}
        names = list(unique)
        first = self.clock_ms()
        for start in range(0, len(names), BATCH):
            part = [from_wire(unique[name]) for name in names[start : start + BATCH]]
            items, read_ms = self._read_batch(part, keys_only)
            # Earlier than `first` if the clock was ahead then and has been set since.
            first = min(first, read_ms)
            for item in items:
                found[key_text(self.key_of(item))] = item
        return [found.get(key_text(key)) for key in keys], first

    def _read_batch(self, keys: list[dict[str, Any]], keys_only: bool) -> tuple[list[Item], int]:
        names = {f"#k{place}": name for place, name in enumerate(self.keys)}
        shape: dict[str, Any] = {"ConsistentRead": True}
        if keys_only:
            shape |= {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}
        items: list[Item] = []
        first = self.clock_ms()
        tries = 0
        while keys:
            request = {
                "RequestItems": {self.table: {"Keys": keys, **shape}},
                "ReturnConsumedCapacity": "TOTAL",
            }
            answer, read_ms = self._ask(self.client.batch_get_item, request, len(keys))
            first = min(first, read_ms)
            items += wire_items(answer, answer["Responses"].get(self.table, []))
            keys = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
            if keys:
                self._pause(tries)
                tries += 1
        return items, first

    def _ask(
        self, call: Callable[..., Any], request: dict[str, Any], items: int
    ) -> tuple[Any, int]:
        """The answer, and the time just before the call that gave it."""
        reserved, wait = self.meter.reserve(items)
        self._sleep(wait)
        tries = throttled = 0
        while True:
            read_ms = self.clock_ms()
            try:
                answer = call(**request)
            except (BotoCoreError, ClientError) as error:
                if _is_throttling(error):
                    self.meter.throttled += 1
                    throttled += 1
                    self._pause(throttled)
                    continue
                tries += 1
                if tries >= TRIES or not _may_pass(error):
                    raise explain_aws(error, f"cannot read the table {self.table}") from error
                self._pause(tries)
                continue
            self.meter.settle(reserved, _units(answer), _count(answer, self.table))
            if self.margin_s is not None:
                # Of each read: a clock may be set while a command runs for days.
                ahead_ms = measure_ahead(read_date(answer), read_ms, self.clock_ms())
                check_clock(ahead_ms, self.margin_s)
            return answer, read_ms

    def _pause(self, tries: int) -> None:
        most = min(BACKOFF_MOST_S, BACKOFF_S * 2 ** min(tries, 16))
        self._sleep(most * (0.5 + random.random() / 2))

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds) if seconds > 0 else self.stop.is_set():
            raise InterruptedByUserError("interrupted")


def _is_throttling(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _THROTTLING


def _may_pass(error: Exception) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500)
    return not isinstance(error, NoCredentialsError)


def _units(answer: Any) -> float:
    capacity = answer.get("ConsumedCapacity") or {}
    parts = capacity if isinstance(capacity, list) else [capacity]
    return float(sum(part.get("CapacityUnits", 0.0) for part in parts))


def _count(answer: Any, table: str) -> int:
    if "Responses" in answer:
        return len(answer["Responses"].get(table, []))
    return int(answer.get("ScannedCount", len(answer.get("Items", []))))
