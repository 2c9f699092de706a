"""The three tasks, each one line: whom to call, and with what."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from producer.contract import CHANGES_TASK, RECORD_TASK
from worker.deadletters import read_time
from worker.errors import SluiceError, UnavailableError
from worker.fate import Fate, write_fate
from worker.incoming import UNDECODABLE_TASK
from worker.overtime import OvertimeError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MessageInfo:
    """The SQS message that a call came in."""

    message_id: str
    receive_count: int
    """How often SQS has handed it out, this time included."""
    sent_at_ms: int | None
    """When it was sent, milliseconds since the epoch, if SQS says so. A redrive sends anew."""
    task_id: str
    first_ms: int | None = None
    """When it was first sent, before any redrive, if that is known; else as `sent_at_ms`."""


class Handlers(Protocol):
    """What the worker does. One object for each child process, called by one task at a time.

    Returning deletes the message. Raising, whatever it is, gives it back to SQS.
    """

    def changes(self, payload: str, message: MessageInfo) -> Fate:
        """Take a chunk of changes."""

    def record(self, payload: str, message: MessageInfo) -> Fate:
        """Take a stream record that nobody could read."""

    def undecodable(self, body: str, reason: str, message: MessageInfo) -> Fate:
        """Take the body of a message that stands for no call, and why."""


class TaskFailedError(SluiceError):
    """A task failed for another reason than an outage. The message stays in the queue."""


class BrokenTaskError(TaskFailedError):
    """It failed by what leaves its process no say: time, memory, a wish to end. Its words name it.

    At the last attempt the main process dead-letters the message (`worker.losses`).
    """


class HandlersOfProcess:
    """Makes the handlers, once in each process that asks: connections do not survive a fork."""

    def __init__(self, factory: Callable[[], Handlers]) -> None:
        self._factory = factory
        self._handlers: Handlers | None = None
        self._process = 0

    def get(self) -> Handlers:
        """This process's handlers. Raises what the factory raises, and asks it again next time."""
        if self._handlers is None or self._process != os.getpid():
            self._handlers = self._factory()
            self._process = os.getpid()
        return self._handlers


def register_tasks(app: Any, handlers: HandlersOfProcess) -> None:
    """Put the three tasks on a Celery app."""
    options = {
        "bind": True,
        "shared": False,
        "Request": "worker.requests:Request",
        "throws": (SluiceError,),
    }

    @app.task(name=CHANGES_TASK, **options)  # type: ignore[untyped-decorator]  # celery: no types
    def changes(self: Any, payload: str) -> str:
        with failures_told(self.request) as message:
            return write_fate(handlers.get().changes(payload, message))

    @app.task(name=RECORD_TASK, **options)  # type: ignore[untyped-decorator]  # celery: no types
    def record(self: Any, payload: str) -> str:
        with failures_told(self.request) as message:
            return write_fate(handlers.get().record(payload, message))

    @app.task(name=UNDECODABLE_TASK, **options)  # type: ignore[untyped-decorator]  # as above
    def undecodable(self: Any, body: str, reason: str) -> str:
        with failures_told(self.request) as message:
            return write_fate(handlers.get().undecodable(body, reason, message))


@contextmanager
def failures_told(request: Any) -> Iterator[MessageInfo]:
    """Log a failure where its traceback is, and let it reach the main process in a form that can.

    An exception is pickled on its way there; one of ours that says no more than its words
    always arrives. It also hides Celery's own (Ignore would delete the message), SystemExit and
    MemoryError, of which the main process would die.
    """
    message = read_info(request)
    # Billiard's own handler raises an Exception, which the owner's code, the clients and our
    # treatment of refusals would all take for their own.
    before = signal.signal(signal.SIGUSR1, _cut)
    try:
        yield message
    except UnavailableError as error:
        log.warning(
            "message %s, received %d times, stays in the queue: %s",
            message.message_id,
            message.receive_count,
            error,
        )
        raise type(error)(str(error)) from None
    except BaseException as error:
        log.exception(
            "message %s, received %d times, stays in the queue",
            message.message_id,
            message.receive_count,
        )
        raise _fail(error) from None
    finally:
        signal.signal(signal.SIGUSR1, before)


def _fail(error: BaseException) -> TaskFailedError:
    if isinstance(error, OvertimeError):
        return BrokenTaskError("TimeLimitExceeded")  # as the hard limit is named
    settled = isinstance(error, Exception) and not isinstance(error, MemoryError)
    return (TaskFailedError if settled else BrokenTaskError)(type(error).__name__)


def _cut(*_: object) -> None:
    raise OvertimeError("the task's time is over")


def read_info(request: Any) -> MessageInfo:
    """What our transport says of a task's message."""
    return read_message(request.properties["delivery_info"]["sqs_message"], request.id)


def read_message(sqs: Mapping[str, Any], task_id: str) -> MessageInfo:
    """The same, from what the transport keeps of the message itself."""
    attributes = sqs["Attributes"]
    sent = attributes.get("SentTimestamp")
    sent_ms = None if sent is None else int(sent)
    return MessageInfo(
        message_id=sqs["MessageId"],
        receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
        sent_at_ms=sent_ms,
        task_id=task_id,
        first_ms=read_time(sqs.get("First") or "") or sent_ms,
    )
