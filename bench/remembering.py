"""Rows of a worker's memory over many messages. Not by default: half an hour for 100,000."""

from collections.abc import Iterator
from typing import Final

from bench.figures import Aim, Row, compare
from bench.size import Size
from bench.stage import Stage
from tests.chaos.memory import FIRST, FLAT, watch_memory

AIM: Final = Aim("at most", FLAT)


def measure_memory(stage: Stage, size: Size) -> Iterator[Row]:
    """Of the main process and of the largest child, at the end beside message 1,000."""
    base = min(FIRST, size.messages // 2)
    directory = stage.directory / "memory"
    directory.mkdir(parents=True, exist_ok=True)
    seen = list(watch_memory(stage.queue, stage.search, directory, size.messages, first=base))
    first, last = seen[0], seen[-1]
    if last.letters:
        raise RuntimeError(f"{last.letters} dead letters: the figures mean nothing")
    for name, end, begin in (
        ("main process", last.main, first.main),
        ("largest child", last.child, first.child),
    ):
        yield compare(
            f"memory {name}",
            f"resident memory of a worker's {name} after {size.messages:,} messages",
            [end],
            [begin],
            unit="MiB",
            against=f"after message {base:,}",
            aim=AIM,
            note="two processes, messages of two items of 1 KB",
        )
