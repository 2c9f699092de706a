"""Waiting for something to become true, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, ask: Callable[[], T], *, seconds: float = 60, every: float = 0.1) -> T:
    """Ask until the answer is true, and give it back. Fails naming what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still waiting for {what}: {answer!r}")
        time.sleep(every)
