"""A bar on stderr with rate and time left; without a terminal, a line every half a minute."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import click

from console.output import make_console

LINE_EVERY_S: Final = 30.0


class Advance(Protocol):
    """Told of each few items done, from any thread."""

    def __call__(self, count: int, *, earlier: bool = False) -> None:
        """earlier: by a run before this one, so that they say nothing of how fast this one is."""


def ignore(count: int, *, earlier: bool = False) -> None:
    """Nobody watches."""


@dataclass
class Tally:
    """What is done, and by whom. Shared by threads."""

    clock: Callable[[], float] = time.monotonic
    done: int = 0
    earlier: int = 0
    """Of `done`: by a run before this one."""
    _began: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int, *, earlier: bool) -> tuple[int, float]:
        """Count; answer what is done, and how many this run does a second."""
        with self._lock:
            now = self.clock()
            if self._began is None or earlier:
                self._began = now
            self.done += count
            self.earlier += count if earlier else 0
            return self.done, (self.done - self.earlier) / max(0.001, now - self._began)


@contextmanager
def show_progress(label: str, total: int) -> Iterator[Advance]:
    """What is yielded is told of each few items done, from any thread. total: 0 if unknown."""
    console = make_console(stderr=True)
    if not console.is_terminal:
        yield _Lines(label, total).add
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(label, total=total or None, rate="")
        tally = Tally()
        tally.add(0, earlier=True)

        def advance(count: int, *, earlier: bool = False) -> None:
            done, rate = tally.add(count, earlier=earlier)
            if earlier:
                # A step of the bar would be taken for this run's pace.
                bar.reset(task, completed=done)
            else:
                bar.update(task, advance=count, rate=f"{rate:,.0f}/s")

        yield advance


class _Lines:
    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._told = time.monotonic()
        self._tally = Tally()
        self._tally.add(0, earlier=True)

    def add(self, count: int, *, earlier: bool = False) -> None:
        done, rate = self._tally.add(count, earlier=earlier)
        now = time.monotonic()
        if now - self._told < LINE_EVERY_S:
            return
        self._told = now
        click.echo(describe_progress(self._label, done, self._total, rate), err=True)


def describe_progress(label: str, done: int, total: int, rate: float) -> str:
    """Where a job stands, in a line: done, of how many, how fast, how long it will take."""
    of = f" of about {total:,}" if total else ""
    left = f", {(total - done) / rate:,.0f} s left" if rate and total > done else ""
    return f"{label}: {done:,}{of}, {rate:,.0f}/s{left}"
