"""Ends a worker that lives but no longer polls, and says to others that it does.

The poll loop comes round whatever SQS answers, and during a pause too. If it does not, something
nobody thought of has stopped it, and only a new process helps.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from celery import bootsteps

from worker.drain import end_process, kill_children
from worker.ledger import Ledger
from worker.telemetry import read_channel, tell

log = logging.getLogger(__name__)

STALLED: Final = 70
"""Exit code of a worker that no longer polls (EX_SOFTWARE of sysexits.h)."""

STALL_MARGIN_S: Final = 60.0
"""Slack beyond a long poll: its timeout, the longest backoff, and slow deletes."""

LOOK_S: Final = 1.0

TELL_LOOKS: Final = 30
"""Looks from one log line with the worker's state, and its metrics, to the next."""


class Patience:
    """Counts looks that found no news. Not a clock: a process that was stopped for an hour has
    not polled for an hour, and nothing is wrong with it."""

    def __init__(self, looks: float) -> None:
        self._looks = looks
        self._seen: float | None = None
        self._vain = 0

    def ends(self, polled_at: float) -> bool:
        """Look once more: whether there was no news for too many looks in a row."""
        self._vain = self._vain + 1 if polled_at == self._seen else 0
        self._seen = polled_at
        return self._vain > self._looks


def is_healthy(file: Path, now: float, limit_s: float) -> bool:
    """Whether a worker has touched its health file of late.

    now: seconds since the epoch. For a container's health check.
    """
    try:
        return now - file.stat().st_mtime <= limit_s
    except OSError:
        return False


def write_health(file: Path, status: Mapping[str, object]) -> None:
    """Say that the worker lives, and why it takes messages or not, as one JSON object.

    A reader finds the old text or the new, never half of one. Raises OSError.
    """
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(json.dumps(status), encoding="utf-8")
    fresh.replace(file)


class WatchdogStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Watches from the first connection to the begin of the drain."""

    name = "worker.watchdog.WatchdogStep"
    requires = ("celery.worker.consumer.tasks:Tasks",)
    limit_s = STALL_MARGIN_S
    file: Path | None = None
    queue = ""
    ledger = Ledger()

    @classmethod
    def watching(
        cls, limit_s: float, file: str | None, queue: str, ledger: Ledger
    ) -> type["WatchdogStep"]:
        """The step with this limit and health file, for a worker of this queue."""
        values = {"limit_s": limit_s, "file": Path(file) if file else None, "queue": queue}
        return type("WatchdogStep", (cls,), {**values, "ledger": ledger})

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._channel: Any = None
        self._thread: threading.Thread | None = None
        self._draining = False

    def start(self, consumer: Any) -> None:
        """Called for each connection."""
        self._channel = consumer.task_consumer.channel
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._watch, args=(consumer,), name="watchdog", daemon=True
            )
            self._thread.start()

    def stop(self, consumer: Any) -> None:
        """Another connection may follow, and must not take longer than a poll may."""

    def close(self, consumer: Any) -> None:
        """The drain begins: polling ends, and the drain has a clock of its own."""
        self._draining = True

    def shutdown(self, consumer: Any) -> None:
        """Nothing is in work any more: the last figures are told."""
        if self._channel is not None:
            self._tell()

    def _watch(self, consumer: Any) -> None:
        patience = Patience(self.limit_s / LOOK_S)
        looks = 0
        while True:
            time.sleep(LOOK_S)
            if patience.ends(self._channel.polled_at) and not self._draining:
                log.critical("no poll for %g s: this process ends", self.limit_s)
                kill_children(consumer)
                end_process(STALLED)
            self._touch()
            looks += 1
            if looks % TELL_LOOKS == 1:
                self._tell()

    def _tell(self) -> None:
        tell(self.queue, read_channel(self._channel), self.ledger.take())

    def _touch(self) -> None:
        if self.file is not None:
            try:
                write_health(self.file, self._channel.gate.status())
            except OSError as error:
                log.warning("cannot write the health file: %s", error)
