"""What a running local pipeline looks like from outside: one reading of all its gauges."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from console.local.pipeline import Pipeline
from worker.cluster import path

RECENT_S: Final = 1.0
"""What a chunk that was finished says of the lag holds for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All gauges at one moment."""

    at: float
    """Seconds of a clock that only goes forward."""
    items: int
    documents: int
    """Behind the read alias: live ones."""
    waiting: int
    """Messages in the queue."""
    flying: int
    """Messages that a worker holds."""
    dead: int
    """Messages in the dead-letter queue."""
    unsettled: int
    """Stream records that were read and not yet forwarded."""
    forwarded: int
    """Stream records in the queue so far."""
    read_ahead: int
    """Stream records read so far."""
    handled: int
    """Changes the workers have reported done: applied, obsolete, folded or refused."""
    lag_s: float
    """Age of the oldest change on its way, as far as it can be seen; 0 when nothing is."""
    workers: int

    @property
    def drained(self) -> bool:
        """Whether nothing is on its way between the stream's reader and the index."""
        return not (self.waiting or self.flying or self.unsettled)


@dataclass(slots=True)
class WorkerLog:
    """Adds up what one worker's log says, a few lines at a time."""

    file: Path
    ready: bool = False
    handled: int = 0
    lag_s: float = 0.0
    lag_at: float = 0.0
    _place: int = 0
    _rest: bytes = b""

    def read(self, now: float) -> None:
        """Take in the lines that are new."""
        with self.file.open("rb") as log:
            log.seek(self._place)
            fresh = log.read()
        self._place += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in lines:
            self._take(line, now)

    def _take(self, line: bytes, now: float) -> None:
        if not line.startswith(b"{"):
            return
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            # A worker that was killed may have left half a line.
            return
        if entry.get("message") == "chunk applied":
            self.handled += int(entry.get("changes", 0))
            self.lag_s = entry.get("lag_ms", 0) / 1000
            self.lag_at = now
        self.ready |= "ready" in str(entry.get("message", ""))


@dataclass(slots=True)
class Gauges:
    """Reads the gauges of one table in a pipeline. For one thread."""

    pipeline: Pipeline
    table: str
    clock: Callable[[], float] = time.monotonic
    _logs: dict[str, WorkerLog] = field(default_factory=dict)

    def read(self) -> Reading:
        """One reading. Takes some 20 ms. Raises what the services' clients raise."""
        pipeline, now = self.pipeline, self.clock()
        counters = [feed.trigger.counters for feed in pipeline.feeds]
        waiting, flying = self._count_messages(pipeline.queue_url)
        unsettled = sum(c.unsettled for c in counters)
        logs = self._read_logs(now)
        description = pipeline.clients.dynamodb.describe_table(TableName=self.table)["Table"]
        return Reading(
            at=now,
            items=description["ItemCount"],
            documents=self._count_documents(),
            waiting=waiting,
            flying=flying,
            dead=sum(self._count_messages(pipeline.dead_letter_url)),
            unsettled=unsettled,
            forwarded=sum(c.delivered for c in counters),
            read_ahead=sum(c.read for c in counters),
            handled=sum(log.handled for log in logs),
            lag_s=max([c.iterator_age_s for c in counters if c.unsettled], default=0.0)
            if not (waiting or flying)
            else _lag(logs, now),
            workers=len(pipeline.workers.running),
        )

    def flying(self) -> int:
        """How many messages the workers have in hand: a glance, where a reading takes too long."""
        return self._count_messages(self.pipeline.queue_url)[1]

    def _count_messages(self, url: str) -> tuple[int, int]:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.pipeline.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        waiting, flying = (int(answer["Attributes"].get(name, 0)) for name in names)
        return waiting, flying

    def _count_documents(self) -> int:
        alias = self.pipeline.tables[self.table].alias
        answer = self.pipeline.cluster.request("GET", path(alias, "_count"))
        # Before the first worker has made it there is no alias.
        return int(answer.body["count"]) if answer.status == 200 else 0

    def _read_logs(self, now: float) -> list[WorkerLog]:
        for worker in self.pipeline.workers.all:
            self._logs.setdefault(worker.name, WorkerLog(worker.log)).read(now)
        return list(self._logs.values())


def _lag(logs: list[WorkerLog], now: float) -> float:
    """The lag of the latest chunks; while none is finished it grows with the time."""
    recent = [log.lag_s for log in logs if now - log.lag_at < RECENT_S]
    if recent:
        return max(recent)
    latest = max(logs, key=lambda log: log.lag_at)
    return latest.lag_s + now - latest.lag_at if latest.lag_at else 0.0
