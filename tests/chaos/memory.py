"""`python -m tests.chaos.memory`: a worker's memory over many messages, and the verdict.

Prints the resident memory of the worker's processes at message 1,000 and from then on, and the
ratio to it. Exits 0 if neither the main process nor the largest child holds more than 1.1 times as
much at the end (`FLAT`) and nothing was dead-lettered, 1 otherwise.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import psutil

from producer.contract import Change, Chunk, encode_chunk, queue_name, write_envelope
from tests.polling import wait_for
from tests.services.engines import run_elasticmq, run_search_engine
from tests.services.environment import scrub
from tests.workers import REGION, Queues, connect_sqs, running_workers

FIRST = 1_000
FLAT = 1.1
"""At the end, no more than so many times what was held at message `FIRST`."""
KEYS = 1_000
STEP = 250
"""Messages sent at a time, whenever the queue holds fewer than four times as many."""


def make_body(queue: str, number: int) -> str:
    """A message of two reads of items, 1 KB each, of a thousand keys."""
    at = time.time_ns() // 1_000_000
    keys = [{"id": {"S": f"item-{(number * 2 + n) % KEYS}"}} for n in range(2)]
    images = [{**key, "text": {"S": f"{number} " * 150}} for key in keys]
    changes = (Change("READ", k, at, new=i) for k, i in zip(keys, images, strict=True))
    return write_envelope(encode_chunk(Chunk("run-posts", None, tuple(changes))), queue)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a worker holds after so many messages, in MiB."""

    messages: int
    main: float
    child: float
    """The largest of its children."""
    letters: int = 0
    """Dead letters, told with the last."""

    def compare(self, first: "Memory") -> tuple[float, float]:
        """The ratio to an earlier one: of the main process, and of the child."""
        return self.main / first.main, self.child / first.child

    def is_flat(self, first: "Memory") -> bool:
        """Whether neither has grown beyond `FLAT`."""
        return max(self.compare(first)) <= FLAT


def measure(pid: int, messages: int, letters: int = 0) -> Memory:
    """Resident memory of the main process, and of the largest of its children."""
    main = psutil.Process(pid)
    children = [c.memory_info().rss for c in main.children() if c.name().startswith("python")]
    held = main.memory_info().rss / 2**20, max(children, default=0) / 2**20
    return Memory(messages, *held, letters)


def watch_memory(
    queue_url: str, search_url: str, directory: Path, count: int, *, first: int = FIRST
) -> Iterator[Memory]:
    """Send messages to one worker and tell what it holds: at message `first`, at each ten thousand,
    and at the end, when the queue is drained."""
    queues = Queues.create(connect_sqs(queue_url), "memory")
    environment = {
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_SQS": queue_url,
        "SLUICE_QUEUE_URL": queues.url,
        "SLUICE_DEAD_LETTER_URL": queues.dead_url,
        "SLUICE_ELASTICSEARCH_URL": search_url,
        "SLUICE_TABLES": "tests.chaos.tables",
        "SLUICE_CONCURRENCY": "2",
        "SLUICE_LOG_LEVEL": "WARNING",
    }
    name = queue_name(queues.url)
    with running_workers(environment, directory) as workers:
        process = workers.start()
        for start in range(0, count, STEP):
            done = min(start + STEP, count)
            queues.send([make_body(name, number) for number in range(start, done)])
            if done in (first, count):  # these are compared: both when nothing is in work
                wait_for("the queue to drain", lambda: queues.depth() == 0, seconds=300)
            else:
                wait_for("room", lambda: queues.depth() < 4 * STEP, seconds=300, every=0.02)
            if done == first or (done % 10_000 == 0 and first < done < count):
                yield measure(process.pid, done)
        yield measure(process.pid, count, len(queues.drain_dead()))


def main() -> int:
    """Send, drain, measure, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.memory", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    count = parser.parse_args().messages
    if count <= FIRST:
        parser.error(f"--messages must be above {FIRST}, with which the end is compared")
    scrub(os.environ)
    directory = Path(tempfile.mkdtemp(prefix="sluice-memory-"))
    with (
        run_elasticmq(directory / "elasticmq", os.environ) as elasticmq,
        run_search_engine("embedded", directory / "search", os.environ) as search,
    ):
        started = time.monotonic()
        memory = watch_memory(elasticmq.url, search.url, directory, count)
        last = first = next(memory)
        for last in chain([first], memory):
            ratios = last.compare(first)
            rate = last.messages / (time.monotonic() - started)
            print(
                f"{last.messages:>8} messages  main {last.main:6.1f} MiB ({ratios[0]:.2f})"
                f"  child {last.child:6.1f} MiB ({ratios[1]:.2f})  {rate:5.0f}/s",
                flush=True,
            )
    print(f"dead letters: {last.letters}")
    flat = last.is_flat(first)
    print(f"{'flat' if flat else 'not flat'}: at most {FLAT:g} times message {FIRST:,}")
    return 0 if flat and not last.letters else 1


if __name__ == "__main__":
    sys.exit(main())
