"""The valve of one worker, with its clock, its log and the operator's word.

The word is a signal to one worker, ``kill -USR2 <main process>``, or a document in the cluster
that every worker of the queue reads (`worker.state.request_open`). A restart, as after the deploy
of a fix, says the same: the valve of a new process is open.
"""

import logging
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from worker.valve import Limits, Valve

log = logging.getLogger(__name__)

WORD: Final = signal.SIGUSR2
"""An operator's signal to take messages again at once."""


class Line:
    """Whether to take messages, as far as refusals decide. For the main process's event loop;
    `open`, `since_ms` and `trial_at_ms` for any thread."""

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._word: str | None = None
        self.valve = Valve(limits)
        self.since_ms = round(1000 * wall())
        """When the valve came into its state, milliseconds since the epoch."""

    def limit(self) -> int | None:
        """How many messages may be in work at once; None: no limit of the valve's."""
        word, self._word = self._word, None
        if word is not None:
            log.warning("the valve is opened by an operator: %s", word)
            self._become(self.valve.opened())
        self._become(self.valve.waited(self._clock()))
        return self.valve.limit()

    def counted(self, done: int, refused: int, classes: Mapping[str, int] | None = None) -> None:
        """Changes of one message ended: so many well, so many refused, these by error class."""
        self._become(self.valve.counted(self._clock(), done, refused, classes))

    def open(self, word: str = "") -> None:
        """An operator's word, taken at the next `limit`. Safe in a signal handler."""
        self._word = word

    def listen(self) -> None:
        """Obey the operator's signal from now on. For the main thread only."""
        signal.signal(WORD, lambda *_: self.open("by a signal"))

    def trial_at_ms(self) -> int | None:
        """When a shut valve lets a trial through, milliseconds since the epoch."""
        valve = self.valve
        if valve.state != "shut":
            return None
        return round(1000 * (self._wall() + valve.trial_at - self._clock()))

    def _become(self, valve: Valve) -> None:
        before, self.valve = self.valve, valve
        if before.state != valve.state:
            self.since_ms = round(1000 * self._wall())
            _LOGS[valve.state](valve)


def _log_shut(valve: Valve) -> None:
    log.error(
        "too much is refused: the valve is shut, no messages are taken; a trial follows in %g s,"
        " or at once after `sluice valve open` or kill -USR2 (%s)",
        valve.limits.pause_s,
        valve.why,
        extra={"valve": "shut"},
    )


def _log_trial(_: Valve) -> None:
    log.warning("the valve lets one message through, as a trial", extra={"valve": "trial"})


def _log_open(_: Valve) -> None:
    log.warning("the valve is open: messages are taken again", extra={"valve": "open"})


_LOGS: Final = {"shut": _log_shut, "trial": _log_trial, "open": _log_open}
