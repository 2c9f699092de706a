"""What is known of a pipeline and of each of its tables at one moment. Values only.

Whatever could not be asked is None, with the reason: status tells what it does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from console.deadletters.filters import Group
from console.sending import Depth
from console.session import TableFacts
from console.status.lag import merge
from console.verify.agreement import Agreement
from worker.state import STALE_MS, LagCounts, WorkerState


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why something could not be asked, and what a person can do."""

    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Trigger:
    """An event source mapping of Lambda on the table's stream."""

    uuid: str
    function: str
    state: str
    result: str
    reports: bool = True
    """Whether it heeds the producer's batchItemFailures."""
    on_failure: str = ""
    """ARN of where it puts what it gives up on; empty: nowhere."""
    age_ms: int | None = None
    """Iterator age, the most of the last ten minutes; None: no figure."""
    retries: int = -1
    """How often it tries a batch again before it gives up; below 0: for ever."""
    record_age_s: int = -1
    """How old a record may be before it gives up; below 0: as old as the stream keeps it."""
    late_since_ms: int | None = None
    """Since when changes may be lost, for it has been too far behind since the last proof that
    index and table agree; None: it has not."""
    undelivered: int = 0
    """Batches since that proof that it gave up on and could not put there either."""
    undelivered_since_ms: int | None = None
    """When it first could not."""


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What the index says of itself."""

    name: str
    live: int
    hidden: int
    tombstones: int
    purgeable: int
    """Tombstones that `sluice tombstones purge` would remove."""
    foreign: int
    """Documents in none of our states."""
    newest_ms: int | None
    """Time of the newest change that is in it."""
    labels: Mapping[str, int]
    """Of each stream that documents come from: the time of its newest change."""
    agreement: Agreement | None
    version: int = 1
    """Of the declaration that it is made from."""
    refresh: str = "1s"
    """How long an applied change may wait until searches see it, as Elasticsearch writes it."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Batches that Lambda itself gave up on and that nobody has forwarded."""

    bucket: str
    count: int
    complete: bool
    """Whether there are no more than those counted."""
    since: str
    """When Lambda gave up on the first that was read, ISO 8601; empty: none could be read."""
    tables: tuple[str, ...]
    """Of those that were read."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything about one table, at one moment."""

    table: str
    now_ms: int
    dynamodb: TableFacts | None = None
    index: IndexFacts | None = None
    rebuild: Mapping[str, Any] | None = None
    """Where a rebuild stands, as `sluice rebuild TABLE status --json` says it."""
    triggers: tuple[Trigger, ...] | None = None
    waited_since_ms: int | None = None
    """Since when messages may be lost, for one has waited too long since the last proof that index
    and table agree; None: none has."""
    given_up: tuple[GivenUp, ...] = ()
    """What lies where the triggers put it, other than in the bucket of the settings."""
    unknown: Mapping[str, Unknown] = field(default_factory=dict)
    """What could not be asked, and why."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Some of the dead letters, by reason."""

    groups: tuple[Group, ...]
    looked_at: int
    complete: bool
    oldest_sent_ms: int | None
    """When the oldest of them was sent: the queue counts its retention from there."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What all tables of one queue share, at one moment."""

    queue: str
    now_ms: int
    depth: Depth | None = None
    retention_s: int | None = None
    oldest_s: float | None = None
    """Age of the oldest message, the most of the last ten minutes. None: no figure."""
    dead: Depth | None = None
    dead_retention_s: int | None = None
    letters: DeadLetters | None = None
    given_up: GivenUp | None = None
    workers: tuple[WorkerState, ...] | None = None
    """Each as it last said, those that died or hang among them."""
    unknown: Mapping[str, Unknown] = field(default_factory=dict)

    @property
    def fresh(self) -> tuple[WorkerState, ...]:
        """Workers that still report."""
        return tuple(w for w in self.workers or () if self.now_ms - w.at <= STALE_MS)

    @property
    def stale(self) -> tuple[WorkerState, ...]:
        """Workers that died, hang, or are cut off from the cluster."""
        return tuple(w for w in self.workers or () if self.now_ms - w.at > STALE_MS)

    @property
    def lag(self) -> LagCounts:
        """What the workers that report have counted, together."""
        return merge(worker.lag for worker in self.fresh)
