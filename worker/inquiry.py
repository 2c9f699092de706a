"""Asks the probe without holding up the event loop: an answer may take seconds."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, Final, Literal, TypeAlias

log = logging.getLogger(__name__)

Standing: TypeAlias = Literal["well", "refusing", "silent"]
"""How the cluster stands. `well`: it does all that every task needs. `refusing`: it answers, but
not so. `silent`: it does not answer, or would let a task wait, so a trial would only hang in it."""

Probe: TypeAlias = Callable[[], Standing]

LOOK_S: Final = 0.05
"""Between looks whether the answer is there."""


def in_thread(probe: Probe) -> "Future[Standing]":
    """Begin to ask, in a thread that nobody waits for at the process's end."""
    future: Future[Standing] = Future()

    def ask() -> None:
        try:
            standing = probe()
        except Exception:
            log.exception("the probe failed, and says nothing")
            standing = "refusing"
        future.set_result(standing)

    Thread(target=ask, name="probe", daemon=True).start()
    return future


class Inquiry:
    """Questions to one probe, at most one at a time. For the main process's event loop."""

    def __init__(
        self,
        timer: Any,
        probe: Probe | None,
        begin: Callable[[Probe], "Future[Standing]"] = in_thread,
    ) -> None:
        self._timer = timer
        self._probe = probe
        self._begin = begin
        self._future: Future[Standing] | None = None
        self._waiting: list[Callable[[Standing], None]] = []

    def ask(self, hear: Callable[[Standing], None]) -> None:
        """Call `hear` with the answer, on the event loop; `refusing` where there is no probe."""
        if self._probe is None:
            hear("refusing")
            return
        self._waiting.append(hear)
        if self._future is None:
            self._future = self._begin(self._probe)
            self._look()

    def _look(self) -> None:
        future = self._future
        if future is None:
            return
        if not future.done():
            self._timer.call_after(LOOK_S, self._look)
            return
        waiting, self._waiting, self._future = self._waiting, [], None
        for hear in waiting:
            hear(future.result())
