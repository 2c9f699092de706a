"""A message that costs every process that takes it its life, its time or its memory.

In a child process nobody is left who could say so, so the main process does: at the message's last
attempt it sends it to the dead-letter queue, with the reason, before it deletes it. Pure.
"""

from collections.abc import Sequence
from typing import Any, Final

from celery.exceptions import TimeLimitExceeded

from producer.contract import write_envelope
from worker.deadletters import Letter
from worker.incoming import UNDECODABLE_TASK
from worker.tasks import BrokenTaskError


class LostProcess(Exception):  # noqa: N818 - the name goes into dead letters as their error
    """A child process ended in the middle of a task. Its words: how."""


_REASONS: Final = {
    "LostProcess": "the process that took it was lost each time",
    "MemoryError": "memory ran out over it",
    "TimeLimitExceeded": "it did not end within SLUICE_TASK_LIMIT_S",
}


def name_loss(error: BaseException) -> str | None:
    """The error class of the dead letter; None for what a child process could settle itself.

    error: how a task ended, as the main process knows it.
    """
    if isinstance(error, BrokenTaskError):
        return str(error)
    lost = isinstance(error, LostProcess | TimeLimitExceeded)
    return type(error).__name__ if lost else None


def write_letter(name: str, error: BaseException, receives: int) -> Letter:
    """Why it is a dead letter, in words that hold nothing of the message."""
    how = f": {error!s:.200}" if isinstance(error, LostProcess) else ""
    reason = _REASONS.get(name, f"its task was ended by {name}")
    return Letter(name, f"{reason}; received {receives} times{how}")


def write_body(task: str, id: str, arguments: Sequence[Any], queue: str) -> str:
    """The message that a call came from, to be put back as it is."""
    if task == UNDECODABLE_TASK:
        return str(arguments[0])
    return write_envelope(str(arguments[0]), queue, task, id)
