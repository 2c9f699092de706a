"""Writes a worker's state into the cluster, and reads there what an operator has to say.

A thread of its own: the event loop would stand still for every request. Nothing depends on it:
while the cluster is away, or does not let this key write there, messages are taken all the same.
"""

import logging
import os
import socket
import threading
from dataclasses import dataclass
from typing import Any, Final

from celery import bootsteps

from worker import metrics
from worker.clock import read_clock_ms
from worker.cluster import Cluster
from worker.errors import UnavailableError
from worker.ledger import WINDOW_S, Ledger
from worker.state import (
    FORGET_MS,
    LagCounts,
    Totals,
    ValveState,
    WorkerState,
    delete_state,
    ensure_state_index,
    put_state,
    read_states,
    read_word,
)
from worker.telemetry import Reading, read_channel

log = logging.getLogger(__name__)

GOODBYE_S: Final = 2.0
"""How long the end of the process waits for a note that is just being written."""


@dataclass(frozen=True, slots=True)
class Noticeboard:
    """Where to write, how often, and as whom."""

    cluster: Cluster
    queue: str
    concurrency: int
    every_s: float = 10.0


class NoticeStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Starts the thread with the first connection; takes the note down at a clean end."""

    name = "worker.notice.NoticeStep"
    requires = ("celery.worker.consumer.tasks:Tasks",)
    board: Noticeboard | None = None
    ledger = Ledger()

    @classmethod
    def writing(cls, board: Noticeboard | None, ledger: Ledger) -> type["NoticeStep"]:
        """The step with this board; None: it writes nothing."""
        return type("NoticeStep", (cls,), {"board": board, "ledger": ledger})

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._writer: Writer | None = None

    def start(self, consumer: Any) -> None:
        """Called for each connection."""
        if self.board is None:
            return
        if self._writer is None:
            self._writer = Writer(self.board, self.ledger, consumer.task_consumer.channel)
            self._writer.start()
        self._writer.channel = consumer.task_consumer.channel

    def stop(self, consumer: Any) -> None:
        """A drain can be watched too."""

    def shutdown(self, consumer: Any) -> None:
        """Nothing is in work any more."""
        if self._writer is not None:
            self._writer.end()


class Writer(threading.Thread):
    """Writes and reads until `end`. Tells of an outage once, and of its end."""

    def __init__(self, board: Noticeboard, ledger: Ledger, channel: Any) -> None:
        super().__init__(name="notice", daemon=True)
        self.channel = channel
        self._board = board
        self._ledger = ledger
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._started_ms = read_clock_ms()
        self._index_known = False
        self._failing = False
        self._obeyed = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Write now, and then every so often."""
        while True:
            self._try()
            if self._ended.wait(self._board.every_s):
                break
        self._take_down()

    def end(self) -> None:
        """Take the note down, as far as the cluster answers in time."""
        self._ended.set()
        self.join(GOODBYE_S)

    def _try(self) -> None:
        try:
            self._write()
        except UnavailableError as error:
            self._index_known = False
            if not self._failing:
                log.warning(
                    "this worker cannot note its state in the cluster, so `sluice status` does not"
                    " see it, and no word of an operator comes that way: %s",
                    error,
                )
            self._failing = True
        except Exception:
            log.exception("the worker's state could not be noted; the next try may do better")
        else:
            if self._failing:
                log.info("this worker notes its state in the cluster again")
            self._failing = False

    def _write(self) -> None:
        board = self._board
        if not self._index_known:
            ensure_state_index(board.cluster)
            self._forget_dead()
        word = read_word(board.cluster, board.queue)
        reading = read_channel(self.channel)
        if word is not None and word.open_at > max(self._obeyed, reading.valve_since):
            self._obeyed = word.open_at
            if reading.valve != "open":
                self.channel.gate.open(f"by {word.by or 'nobody named'}, through the cluster")
        put_state(board.cluster, self._compose(reading))
        self._index_known = True

    def _compose(self, reading: Reading) -> WorkerState:
        figures, lags = self._ledger.since_start(), self._ledger.recent_lags()
        sums = figures.sums
        return WorkerState(
            queue=self._board.queue,
            worker=self._worker,
            at=read_clock_ms(),
            started=self._started_ms,
            concurrency=self._board.concurrency,
            polling=reading.polling,
            breaker=reading.breaker,
            valve=ValveState(
                reading.valve, reading.valve_since, reading.valve_trial_at, reading.valve_why
            ),
            in_work=reading.in_work,
            held=reading.held,
            lag=LagCounts(round(WINDOW_S), lags.bounds, tuple(lags.counts)),
            totals=Totals(
                changes=sums[metrics.RECEIVED],
                applied=sums[metrics.APPLIED],
                obsolete=sums[metrics.OBSOLETE] + sums[metrics.FOLDED],
                refused=sums[metrics.REFUSED],
                conflicts=sums[metrics.CONFLICTS],
            ),
            refused=dict(figures.refused),
        )

    def _forget_dead(self) -> None:
        board = self._board
        for state in read_states(board.cluster, board.queue):
            if state.at < read_clock_ms() - FORGET_MS:
                delete_state(board.cluster, state.queue, state.worker)

    def _take_down(self) -> None:
        try:
            delete_state(self._board.cluster, self._board.queue, self._worker)
        except UnavailableError as error:
            log.info("the worker's note stays in the cluster: %s", error)
