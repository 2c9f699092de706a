"""Structured logs: one JSON object a line, on standard error. No content of a document is in them.

The words of an exception may quote whatever it is about: `int(item["age"])` quotes the value. So
unless the level is DEBUG, only its class and where it was raised are told, its causes' too.
"""

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from worker.errors import ConfigurationError, UnavailableError

log = logging.getLogger(__name__)

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_CONTENT: Final = frozenset({"data"})
"""What Celery gives beside its messages: a task's arguments, which are documents."""

_QUOTELESS: Final = (ConfigurationError, UnavailableError)
"""Errors whose words are ours, or those of a service about itself, and speak of no document."""


class JsonFormatter(logging.Formatter):
    """Time, level, logger and message, then whatever the call gave as `extra`.

    words: whether exceptions are told with their words, and with the lines of code.
    """

    def __init__(self, *, words: bool = False) -> None:
        super().__init__()
        self._words = words

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {
            name: value for name, value in vars(record).items() if name not in _PLAIN | _CONTENT
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = describe(record.exc_info[1], words=self._words)
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up_logging(level: str) -> None:
    """Send every logger's lines to standard error as JSON, from this level up.

    What Python itself would print there, warnings and the exceptions that nobody caught, too.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(words=level == "DEBUG"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    sys.excepthook = lambda *raised: log.critical("the process ends", exc_info=raised)
    threading.excepthook = lambda what: log.error("a thread ended", exc_info=what.exc_value)
    logging.captureWarnings(True)  # or Celery does, later, and so in the place of ours
    warnings.showwarning = _show_warning
    for noisy in ("botocore", "boto3", "urllib3", "elastic_transport", "s3transfer"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # What carries metrics is no matter of taste: an alarm rings when it stays away.
    logging.getLogger("worker.telemetry").setLevel(logging.INFO)
    # Celery tells of each task what our own lines tell better, some with its arguments.
    for chatty in ("celery.app.trace", "celery.pool", "celery.worker.strategy"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _show_warning(  # noqa: PLR0917 - the signature is that of `warnings.showwarning`
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Pydantic's warnings, for one, quote values."""
    log.warning("%s at %s:%d", category.__name__, filename, lineno)
    log.debug("%s: %s", category.__name__, message)


def describe(error: BaseException | None, *, words: bool = False) -> str:
    """An exception and its causes, the first of them first, as Python has them in a traceback."""
    if words:
        return "".join(traceback.format_exception(error))
    return "\n".join(reversed([_locate(one) for one in _chain(error)]))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and what it came of, the last first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        hidden = error.__suppress_context__ or error.__cause__ is not None
        error = error.__cause__ if hidden else error.__context__


def _locate(error: BaseException) -> str:
    frames = [
        f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    name = type(error).__name__
    return "\n".join([*frames, f"{name}: {error}" if isinstance(error, _QUOTELESS) else name])
