"""The demo, act by act: existing posts, the spike, a worker's death, the drain, the verdict."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from console.demo.display import Display
from console.demo.scenario import (
    MODULE,
    TABLE,
    Spike,
    Write,
    batches,
    existing_posts,
    lanes,
    make_spike,
)
from console.demo.verdict import (
    Letter,
    Subject,
    Verdict,
    compare,
    read_documents,
    read_items,
    read_letters,
)
from console.local.gauges import Gauges, Reading
from console.local.pipeline import Pipeline
from worker.documents import make_document
from worker.errors import SluiceError
from worker.wire import from_wire

POLL_S: Final = 0.25
WRITERS: Final = 6
READY_S: Final = 60.0
INDEXED_S: Final = 90.0
DRAINED_S: Final = 150.0

VISIBILITY_S: Final = 15
"""So soon the messages of the killed worker come again."""

PAUSE_S: Final = 4.0
"""So long nobody drains the queue."""

HELD_SHARE: Final = 4
"""One write in so many waits until the workers are in the middle of the others."""

GLANCE_S: Final = 0.02
"""Between two looks at the queue alone, to meet a worker that has something in hand."""

IN_HAND_S: Final = 5.0
"""After that much a worker is killed with nothing in hand."""

__all__ = ["MODULE", "DemoError", "Outcome", "Play"]


class DemoError(SluiceError):
    """The demo did not get as far as a verdict in its time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo ended with."""

    verdict: Verdict
    poison: Letter | None
    """The dead letter of the poison post."""
    strangers: tuple[Letter, ...]
    """Dead letters that nobody expected."""
    spike: Spike

    @property
    def fine(self) -> bool:
        """Whether index and table agree, and the poison post alone is refused, with its reason."""
        poison = self.poison is not None and bool(self.poison.reason)
        return self.verdict.agrees and poison and not self.strangers


@dataclass(slots=True)
class Play:
    """One performance on a running pipeline."""

    pipeline: Pipeline
    display: Display
    posts: int
    edits: int
    seed: int
    gauges: Gauges = field(init=False)
    idle: bool = False
    """Whether there are no workers, on purpose."""

    def __post_init__(self) -> None:
        self.gauges = Gauges(self.pipeline, TABLE)

    def run(self) -> Outcome:
        """All acts. Raises DemoError when one does not end in time."""
        self.index_existing()
        spike = make_spike(self.posts, self.edits, self.seed)
        self.storm(spike)
        # Each of these writes changes its item, so each makes a record.
        self.wait_until_drained(self.posts + len(spike.writes))
        return self.judge(spike)

    def index_existing(self) -> None:
        """Fill the table and wait until its posts are documents."""
        writes = existing_posts(self.posts, self.seed)
        hidden = self.count_hidden(writes)
        self.tell(
            f"{self.posts:,} posts are put into the table; they are indexed through its stream,"
            " read from its beginning, so they need no `sluice backfill`"
        )
        self.write(writes)
        live = self.posts - hidden
        reading = self.wait(
            "the existing posts to be indexed",
            lambda r: r.documents == live and r.drained,
            INDEXED_S,
        )
        self.tell(f"{reading.documents:,} posts are searchable; {hidden:,} are drafts, hidden")

    def storm(self, spike: Spike) -> None:
        """Write the spike, and take the workers away in the middle of what follows."""
        before = self.look()
        self.tell(
            f"spike: {len(spike.writes):,} writes, {spike.deletes:,} of them deletions,"
            f" {len(spike.oversize)} posts too large for a message, one poison post"
        )
        held = len(spike.writes) // HELD_SHARE
        first, last = spike.writes[:-held], spike.writes[-held:]
        middle = threading.Event()
        writer = _Writer(lambda: self._write_in_two(first, middle, last))
        writer.start()
        third = before.handled + len(spike.writes) // 3
        self.wait("the workers to be in the middle of it", lambda r: r.handled >= third, DRAINED_S)
        middle.set()
        self.lose_workers(self._wait_in_hand())
        self.wait("the writer to end", lambda _: not writer.is_alive(), DRAINED_S)
        writer.finish()
        self.tell(f"all is written, in {writer.took_s:.1f} s")

    def _write_in_two(
        self, first: Sequence[Write], middle: threading.Event, last: Sequence[Write]
    ) -> None:
        """However fast the workers are, some writes are still to come when one of them dies."""
        self.write(first)
        middle.wait()
        self.write(last)

    def _wait_in_hand(self) -> int:
        """Wait for a moment at which workers have messages in hand; how many."""
        deadline = time.monotonic() + IN_HAND_S
        while not (flying := self.gauges.flying()) and time.monotonic() < deadline:
            time.sleep(GLANCE_S)
        return flying

    def lose_workers(self, flying: int) -> None:
        """SIGKILL one worker, ask the others to end, and start new ones a while later."""
        victim, *others = self.pipeline.workers.running
        victim.kill()
        self.tell(
            f"{victim.name} and its processes are killed with SIGKILL,"
            f" {flying:,} messages in the workers' hands"
        )
        for other in others:
            other.process.terminate()
            self.tell(f"{other.name} is asked to end (SIGTERM), as at a deploy")
        self.idle = True
        until = time.monotonic() + PAUSE_S
        self.wait("a pause without workers", lambda _: time.monotonic() >= until, 3 * PAUSE_S)
        names = [self.pipeline.workers.start().name for _ in range(self.pipeline.plan.workers)]
        self.idle = False
        self.tell(
            f"{' and '.join(names)} start; what the dead one held comes again within"
            f" {self.pipeline.plan.visibility_s} s"
        )

    def wait_until_drained(self, records: int) -> None:
        """Until so many records of the stream were forwarded, and the queue is empty."""
        self.wait("the queue to drain", lambda r: r.read_ahead >= records and r.drained, DRAINED_S)
        self.tell("the queue is empty: every item is compared with every document")

    def judge(self, spike: Spike) -> Outcome:
        """Compare table and index, and read the dead letters."""
        pipeline = self.pipeline
        letters = read_letters(pipeline.clients.sqs, pipeline.dead_letter_url)
        documents = read_documents(pipeline.cluster, pipeline.tables[TABLE].write_alias)
        items = read_items(pipeline.clients.dynamodb, TABLE)
        subject = Subject(
            pipeline.tables[TABLE],
            tuple(key.name for key in pipeline.plan.key),
            pipeline.streams[TABLE],
        )
        poison = [letter for letter in letters if letter.id == spike.poison]
        return Outcome(
            verdict=compare(subject, items, documents, letters),
            poison=poison[0] if poison else None,
            strangers=tuple(letter for letter in letters if letter.id != spike.poison),
            spike=spike,
        )

    def count_hidden(self, writes: Sequence[Write]) -> int:
        """How many of these posts their document function hides."""
        table = self.pipeline.tables[TABLE]
        return sum(make_document(table, write.item) is None for write in writes if write.item)

    def write(self, writes: Sequence[Write]) -> None:
        """Put writes into the table by BatchWriteItem, those of one item in order."""
        with ThreadPoolExecutor(WRITERS) as pool:
            # The list asks for every result, which raises what went wrong.
            list(pool.map(self._write_lane, lanes(writes, WRITERS)))

    def _write_lane(self, writes: Sequence[Write]) -> None:
        client = self.pipeline.clients.dynamodb
        for batch in batches(writes):
            request: Any = {TABLE: [_request(write) for write in batch]}
            while request:
                request = client.batch_write_item(RequestItems=request).get("UnprocessedItems")

    def tell(self, what: str) -> None:
        """Say what happens now."""
        self.display.tell(what)

    def look(self) -> Reading:
        """Read the gauges and show them. Raises PipelineError if a part of it has ended."""
        self.pipeline.check(idle=self.idle)
        reading = self.gauges.read()
        self.display.show(reading)
        return reading

    def wait(self, what: str, test: Callable[[Reading], bool], seconds: float) -> Reading:
        """Look until the test is true. Raises DemoError, naming what was waited for."""
        deadline = time.monotonic() + seconds
        while True:
            reading = self.look()
            if test(reading):
                return reading
            if time.monotonic() > deadline:
                raise DemoError(f"after {seconds:.0f} s still waiting for {what}: {reading}")
            time.sleep(POLL_S)


class _Writer(threading.Thread):
    """Writes beside the display, and keeps what went wrong until `finish`."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="writer", daemon=True)
        self._work = work
        self._failure: Exception | None = None
        self.took_s = 0.0

    def run(self) -> None:
        start = time.monotonic()
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - `finish` raises it in the main thread
            self._failure = error
        self.took_s = time.monotonic() - start

    def finish(self) -> None:
        """Wait for the end. Raises what the work raised."""
        self.join()
        if self._failure is not None:
            raise DemoError(f"writing to the table failed: {self._failure}") from self._failure


def _request(write: Write) -> dict[str, Any]:
    if write.item is None:
        return {"DeleteRequest": {"Key": {"id": {"S": write.id}}}}
    return {"PutRequest": {"Item": from_wire(write.item)}}
