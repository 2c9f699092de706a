"""Keeps messages in work hidden, so that long work, or a long outage, is not handed out twice.

A thread of its own: the event loop would stand still for every call. It needs the hard time limit
that `worker.app` always sets, and `worker.unbegun` for a task that never begins: else what hangs
would be kept hidden for ever.
"""

import logging
import threading
import time
from typing import Any, Final

from celery import bootsteps

from worker.transport import AWS_ERRORS, describe

log = logging.getLogger(__name__)

BEATS: Final = 3
"""Extensions per visibility timeout: two may fail before the message is visible."""

HELD_S: Final = 11 * 3600
"""Longest time to hold a message. SQS ends it at 12 hours, whatever is asked (Amazon SQS
Developer Guide, visibility timeout)."""

ASSUMED_S: Final = 30
"""The visibility timeout, until the queue has said its own: the default of SQS."""


class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Starts the thread with the consumer, and ends it after the drain."""

    name = "worker.heartbeat.HeartbeatStep"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._heart: Heart | None = None

    def start(self, consumer: Any) -> None:
        """Called for each connection: a new channel has new messages."""
        self.shutdown(consumer)
        self._heart = Heart(consumer.task_consumer.channel)
        self._heart.start()

    def stop(self, consumer: Any) -> None:
        """A shutdown begins: tasks in work still need the beat."""

    def shutdown(self, consumer: Any) -> None:
        """Nothing is in work any more."""
        if self._heart is not None:
            self._heart.end()


class Heart(threading.Thread):
    """Extends the visibility of everything that a channel has received and not settled."""

    def __init__(self, channel: Any) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._channel = channel
        self._timeout_s: int | None = channel.receive_visibility_timeout
        self._since: dict[str, float] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        """Beat until `end`."""
        while True:
            try:
                self._beat()
            except Exception:
                log.exception("a heartbeat failed; the next one may not")
            if self._ended.wait((self._timeout_s or ASSUMED_S) / BEATS):
                return

    def end(self) -> None:
        """No further beat begins."""
        self._ended.set()

    def _beat(self) -> None:
        if self._timeout_s is None:
            self._timeout_s = self._ask_queue()
        seconds = self._timeout_s or ASSUMED_S
        held = self._channel.qos.held()
        now = time.monotonic()
        self._since = {tag: self._since.get(tag, now) for tag in held}
        for tag, message in held.items():
            if now - self._since[tag] < HELD_S and tag in self._channel.qos.held():
                self._extend(tag, message, seconds)

    def _extend(self, tag: str, message: Any, seconds: int) -> None:
        try:
            self._channel.set_visibility(message.delivery_info, seconds)
        except AWS_ERRORS as error:
            # One that was deleted meanwhile needs no more time.
            if tag in self._channel.qos.held():
                log.warning("cannot keep a message in work hidden: %s", describe(error))

    def _ask_queue(self) -> int | None:
        try:
            return int(self._channel.visibility_timeout_of_queue())
        except AWS_ERRORS as error:
            log.warning("the queue does not say its visibility timeout: %s", describe(error))
            return None
