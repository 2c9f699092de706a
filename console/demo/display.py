"""What the demo shows: a live picture on a terminal, plain lines anywhere else."""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from console.local.gauges import Reading

LINE_S: Final = 2.0
"""Seconds between two plain lines of gauges."""

_BARS: Final = " ▁▂▃▄▅▆▇█"
_HISTORY: Final = 60
_EVENTS: Final = 12


class Display(Protocol):
    """Somewhere to show what happens."""

    def tell(self, what: str) -> None:
        """Something happened, in one line."""

    def show(self, reading: Reading) -> None:
        """This is how things stand."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def choose_display(console: Console) -> Display:
    """A live display on a terminal that can show one, plain lines elsewhere."""
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveDisplay(console) if live else PlainDisplay(console)


class PlainDisplay:
    """A line for each event, and one for the gauges every two seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._start = clock()
        self._shown = 0.0

    def tell(self, what: str) -> None:
        self._print(what)

    def show(self, reading: Reading) -> None:
        if self._clock() - self._shown >= LINE_S:
            self._shown = self._clock()
            self._print("  " + ", ".join(f"{n} {v}" for n, v in describe(reading)))

    def _print(self, line: str) -> None:
        elapsed = self._clock() - self._start
        self._console.print(f"{elapsed:5.1f} s  {line}", soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class LiveDisplay:
    """Gauges, the curve of the queue and the latest events, redrawn in place."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._depths: deque[int] = deque(maxlen=_HISTORY)
        self._reading: Reading | None = None
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def tell(self, what: str) -> None:
        self._events.append(f"{self._clock() - self._start:5.1f} s  {what}")
        self._draw()

    def show(self, reading: Reading) -> None:
        self._reading = reading
        self._depths.append(reading.waiting + reading.flying)
        self._draw()

    def _draw(self) -> None:
        gauges = Grid.grid(padding=(0, 3))
        if self._reading is not None:
            shown = describe(self._reading)
            for pairs in (shown[:5], shown[5:]):
                gauges.add_row(*(Text.assemble((n, "dim"), " ", (v, "bold")) for n, v in pairs))
        curve = Text.assemble(("queue   ", "dim"), (sparkline(self._depths), "cyan"))
        events = [Text(event, overflow="ellipsis", no_wrap=True) for event in self._events]
        self._live.update(Group(gauges, curve, Text(), *events), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


def describe(reading: Reading) -> list[tuple[str, str]]:
    """The gauges as names and values, in the order of the flow."""
    return [
        ("items", f"{reading.items:,}"),
        ("in stream", f"{reading.unsettled:,}"),
        ("forwarded", f"{reading.forwarded:,}"),
        ("queued", f"{reading.waiting:,}"),
        ("in flight", f"{reading.flying:,}"),
        ("workers", f"{reading.workers}"),
        ("handled", f"{reading.handled:,}"),
        ("documents", f"{reading.documents:,}"),
        ("dead letters", f"{reading.dead:,}"),
        ("lag", f"{reading.lag_s:.1f} s"),
    ]


def sparkline(values: "deque[int]") -> str:
    """Values as a row of bars, the highest one full."""
    top = max(values, default=0) or 1
    return "".join(_BARS[-(-value * (len(_BARS) - 1) // top)] for value in values)
