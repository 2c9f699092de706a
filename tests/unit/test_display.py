"""The demo's display: plain lines where there is no terminal, and bars that keep proportion."""

import io
from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from console.demo.display import LiveDisplay, PlainDisplay, choose_display, describe, sparkline
from console.local.gauges import Reading

READING = Reading(
    at=0.0,
    items=1234,
    documents=5,
    waiting=6,
    flying=7,
    dead=8,
    unsettled=9,
    forwarded=10,
    read_ahead=11,
    handled=12,
    lag_s=1.25,
    workers=2,
)


def test_a_terminal_gets_the_live_display_and_a_pipe_plain_lines() -> None:
    assert isinstance(choose_display(Console(force_terminal=True)), LiveDisplay)
    assert isinstance(choose_display(Console(file=io.StringIO())), PlainDisplay)


def test_plain_lines_come_every_two_seconds_and_events_at_once() -> None:
    now = [0.0]
    output = io.StringIO()
    display = PlainDisplay(Console(file=output, width=40), clock=lambda: now[0])
    for second in range(10):
        now[0] = second / 2
        display.show(READING)
    display.tell("a thing happened that needs more than one line of forty characters")
    lines = output.getvalue().splitlines()
    assert len(lines) == 3
    assert "items 1,234" in lines[0]
    assert "a thing happened" in lines[-1]
    assert "\x1b" not in output.getvalue()


def test_every_gauge_is_described() -> None:
    names = [name for name, _ in describe(READING)]
    assert names[0] == "items"
    assert len(names) == len(set(names)) == 10


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_a_bar_is_empty_only_for_zero_and_full_for_the_highest(values: list[int]) -> None:
    bars = sparkline(deque(values))
    assert len(bars) == len(values)
    assert all((bar == " ") == (value == 0) for bar, value in zip(bars, values, strict=True))
    if any(values):
        assert bars[values.index(max(values))] == "█"
