"""The soft limit of a task's time, and whose fault it is that the time ran out."""

from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import UnansweredError


class OvertimeError(BaseException):
    """The soft time limit. No Exception: nothing in a task may take it for a fault of a change."""


@contextmanager
def awaited(what: str) -> Iterator[None]:
    """Around a request to something outside: time that runs out here is an outage of `what`.

    Raises UnansweredError in place of OvertimeError.
    """
    try:
        yield
    except OvertimeError as error:
        raise UnansweredError(
            f"the task's time was over before {what} answered",
            hint="it is slow; if it stays so, raise SLUICE_TASK_LIMIT_S",
        ) from error
