"""What a line of the log holds, and what it never does."""

import json
import logging
import subprocess
import sys

from worker.errors import RefusedError, UnavailableError
from worker.logs import JsonFormatter, describe


def line(**extra: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "n", "levelname": "INFO", "msg": "m", **extra})
    return dict(json.loads(JsonFormatter().format(record)))


def test_what_a_call_gives_as_extra_is_in_its_line() -> None:
    assert line(table="posts", lag_ms=5) | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "logger": "n",
        "message": "m",
        "table": "posts",
        "lag_ms": 5,
    }


def test_a_tasks_arguments_as_celery_gives_them_are_not() -> None:
    assert "document" not in json.dumps(line(data={"args": "['a document']"}))


def fail_quoting(value: str) -> None:
    try:
        int(value)
    except ValueError as error:
        raise KeyError(f"no number: {value}") from error


def error_of(words: bool) -> str:
    try:
        fail_quoting("secret")
    except KeyError as error:
        record = logging.makeLogRecord({"exc_info": (type(error), error, error.__traceback__)})
        return str(json.loads(JsonFormatter(words=words).format(record))["error"])
    raise AssertionError


def test_of_an_exception_and_its_causes_the_classes_and_places_are_told() -> None:
    told = error_of(words=False)
    assert "secret" not in told
    first, second = (part for part in told.split("\n") if not part.startswith(" "))
    assert (first, second) == ("ValueError", "KeyError")
    assert f"{__file__}:" in told
    assert "in fail_quoting" in told


def test_its_words_are_told_to_whoever_asks_for_them() -> None:
    told = error_of(words=True)
    assert "no number: secret" in told
    assert "invalid literal for int() with base 10: 'secret'" in told


def test_what_is_hidden_from_a_traceback_is_hidden_here() -> None:
    error = KeyError()
    error.__context__, error.__suppress_context__ = ValueError("secret"), True
    assert describe(error) == "KeyError"
    error.__suppress_context__ = False
    assert describe(error) == "ValueError\nKeyError"


def test_errors_that_speak_of_no_document_keep_their_words() -> None:
    assert describe(UnavailableError("it is away")) == "UnavailableError: it is away"
    assert describe(RefusedError("parsing", "quotes a value")) == "RefusedError"


WHAT_PYTHON_PRINTS = """
import logging, threading, warnings
from worker.logs import set_up_logging
set_up_logging("INFO")
logging.captureWarnings(True)
warnings.warn("secret")
def fail():
    raise ValueError("secret")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


def test_warnings_and_what_nobody_caught_are_lines_too() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WHAT_PYTHON_PRINTS], check=False, capture_output=True
    )
    assert ended.returncode == 1
    lines = [json.loads(text) for text in ended.stderr.splitlines()]
    assert [line["message"] for line in lines] == [
        "UserWarning at <string>:6",
        "a thread ended",
        "the process ends",
    ]
    assert b"secret" not in ended.stderr


AT_LEVEL_ERROR = """
import logging
from worker.ledger import Ledger
from worker.logs import set_up_logging
from worker.telemetry import Reading, tell
set_up_logging("ERROR")
logging.getLogger("worker.messages").info("chunk applied")
tell("changes", Reading(), Ledger().take())
"""


def test_at_any_level_the_lines_that_carry_metrics_are_written() -> None:
    # Elsewhere: it takes the log away from whoever has it.
    ended = subprocess.run([sys.executable, "-c", AT_LEVEL_ERROR], check=True, capture_output=True)
    (told,) = ended.stderr.splitlines()
    assert json.loads(told)["ChangesReceived"] == 0
