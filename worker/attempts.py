"""A message that a defect of ours keeps failing ends in the dead-letter queue with its reason.

Left to SQS, which moves it there after `maxReceiveCount`, it would arrive without one. So the last
of a few attempts sends it itself. An outage spends no attempt. A lost process, the time limit and
a lack of memory leave nobody here who could send: those are the main process's (`worker.losses`).
"""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from producer.contract import CHANGES_TASK, RECORD_TASK, write_envelope
from worker.deadletters import DeadLetters, Letter, Tried
from worker.errors import UnavailableError, UnsendableError
from worker.fate import Fate
from worker.tasks import Handlers, MessageInfo

log = logging.getLogger(__name__)

_NO_DEFECTS: Final = (UnavailableError, UnsendableError, MemoryError)
"""These pass: waiting helps, or sending does not, or the main process sees to it."""


@dataclass(frozen=True, slots=True)
class BoundedAttempts:
    """`worker.tasks.Handlers` around others. What they raise passes, until the last attempt."""

    handlers: Handlers
    deadletters: DeadLetters
    queue: str
    attempts: int
    """Receipts of a message; from this one on a defect dead-letters it."""

    def changes(self, payload: str, message: MessageInfo) -> Fate:
        return self._bound(
            message,
            lambda: self.handlers.changes(payload, message),
            lambda: write_envelope(payload, self.queue, CHANGES_TASK, message.task_id),
        )

    def record(self, payload: str, message: MessageInfo) -> Fate:
        return self._bound(
            message,
            lambda: self.handlers.record(payload, message),
            lambda: write_envelope(payload, self.queue, RECORD_TASK, message.task_id),
        )

    def undecodable(self, body: str, reason: str, message: MessageInfo) -> Fate:
        return self._bound(
            message, lambda: self.handlers.undecodable(body, reason, message), lambda: body
        )

    def _bound(
        self, message: MessageInfo, attempt: Callable[[], Fate], body: Callable[[], str]
    ) -> Fate:
        self.deadletters.begin(Tried(message.receive_count, message.first_ms))
        try:
            return attempt()
        except _NO_DEFECTS:
            raise
        except Exception as error:
            if message.receive_count < self.attempts:
                raise
            name = type(error).__name__
            log.exception(
                "message dead-lettered",
                extra={
                    "message_id": message.message_id,
                    "task_id": message.task_id,
                    "receives": message.receive_count,
                    "why": name,
                },
            )
            self.deadletters.send_body(body(), Letter(name, describe(error, message)))
            return Fate(0, 1, classes={name: 1})


def describe(error: Exception, message: MessageInfo) -> str:
    """The reason of the dead letter: what was raised, where, and how often it was tried."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"a defect of the worker{place}, received {message.receive_count} times: {error}"
