"""A steady flow of stream events, and when what it carries can be searched."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bench.corpus import TABLE, make_posts, make_records, name_stream
from bench.pooling import SEQUENCES
from worker.cluster import Cluster, connect, path
from worker.errors import UnavailableError

EVENT: Final = 375
MARK: Final = 100
"""Each so many changes, and with the last of each event, one is searched for."""
LOOK: Final = 500
"""Documents of one search for what was not found yet."""
WINDOW_S: Final = 1.0
"""Of infra/variables.tf: batch_size and window_s."""
POLL_S: Final = 0.05
TEMPLATES: Final = 1_000


class Source:
    """Events of ever new posts, cheap to make: each is a template under a key of its own.

    log: how many posts there were at which time of the monotonic clock.
    """

    def __init__(self, prefix: str, table: str = TABLE) -> None:
        self.prefix = prefix
        self.stream = name_stream(table)
        self.made = 0
        self.log: list[tuple[float, int]] = []
        self._templates = list(make_records(make_posts(TEMPLATES, prefix="t"), at_s=0))

    def make_event(self, count: int) -> dict[str, Any]:
        """An event of the next `count` posts."""
        first = SEQUENCES.take(count)
        now = int(time.time())
        return {"Records": [self._record(first + n, now) for n in range(count)]}

    def mark(self, count: int) -> Iterator[tuple[str, int]]:
        """Of the last `count` posts, the ids that are searched for, and how many came after."""
        for number in range(self.made - count + 1, self.made + 1):
            if number % MARK == 0 or number == self.made:
                yield f"{self.prefix}-{number}", self.made - number

    def _record(self, sequence: int, now: int) -> dict[str, Any]:
        self.made += 1
        template = self._templates[self.made % TEMPLATES]
        body = template["dynamodb"]
        key = {"S": f"{self.prefix}-{self.made}"}
        changed = {
            **body,
            "ApproximateCreationDateTime": now,
            "Keys": {"id": key},
            "NewImage": {**body["NewImage"], "id": key},
            "SequenceNumber": f"{sequence:021}",
        }
        return {**template, "dynamodb": changed, "eventSourceARN": self.stream}


@dataclass
class Seen:
    """When each marked document was made, and when a search first found it."""

    cluster: Cluster
    alias: str
    made: dict[str, float] = field(default_factory=dict)
    lags: list[tuple[float, float]] = field(default_factory=list)
    """Of each found document: when it was made, and the seconds until it was found."""
    stop: threading.Event = field(default_factory=threading.Event)
    turn: int = 0

    def run(self) -> None:
        """Search for what was not found yet, again and again."""
        while not self.stop.wait(POLL_S):
            self.look()

    def look(self) -> None:
        """One search for some of the documents that were not found yet, each in its turn: one that
        was lost must not hide those that came after it."""
        wanted, self.turn = take_turn(list(self.made), self.turn, LOOK)
        if not wanted:
            return
        asked = {"query": {"ids": {"values": wanted}}, "_source": False, "size": len(wanted)}
        try:
            answer = self.cluster.request("POST", path(self.alias, "_search"), body=asked)
        except UnavailableError:  # too busy to search: so it is not found yet
            return
        now = time.monotonic()
        for hit in answer.body["hits"]["hits"]:
            made = self.made.pop(hit["_id"], None)
            if made is not None:
                self.lags.append((made, now - made))


def take_turn(names: Sequence[str], first: int, count: int) -> tuple[list[str], int]:
    """At most `count` of the names from a place on, around the end; and the place of the next."""
    if not names:
        return [], 0
    start = first % len(names)
    taken = [*names[start:], *names[:start]][:count]
    return taken, start + len(taken)


@contextmanager
def watching(url: str, alias: str) -> Iterator[Seen]:
    """Searches for marked documents in a thread of their own."""
    seen = Seen(connect(url), alias)
    thread = threading.Thread(target=seen.run, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        thread.join()
        seen.cluster.close()


def feed(
    source: Source,
    seen: Seen,
    forward: Callable[[dict[str, Any]], object],
    rate: Callable[[float], float],
    seconds: float,
    *,
    lanes: int = 1,
) -> float:
    """Make events at a rate (changes a second, of the seconds since the start) and give them to
    `forward`, as the trigger would: every window, or once full. Answers how many changes a second
    were forwarded in truth. lanes: events that may be forwarded at once."""
    began, due, sent = time.monotonic(), 0.0, 0
    with ThreadPoolExecutor(lanes) as threads:
        pending = []
        while due < seconds:
            now_rate = max(rate(due), 1e-9)
            count = max(1, min(EVENT, round(now_rate * WINDOW_S)))
            due += count / now_rate
            time.sleep(max(0.0, began + due - time.monotonic()))
            event = source.make_event(count)
            for marker, after in source.mark(count):
                seen.made[marker] = began + due - after / now_rate
            sent += count
            source.log.append((time.monotonic(), source.made))
            if lanes == 1:
                forward(event)
            else:
                pending.append(threads.submit(forward, event))
        for one in pending:
            one.result()
    return sent / max(time.monotonic() - began, due)
