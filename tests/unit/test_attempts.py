"""A defect dead-letters its message at the last attempt, with the reason; an outage never does."""

import json
from dataclasses import dataclass

import pytest

from kit.memory import MemoryDeadLetters
from producer.contract import CHANGES_TASK, RECORD_TASK
from worker.__main__ import handlers
from worker.attempts import BoundedAttempts
from worker.errors import ContentionError, UnavailableError, UnsendableError
from worker.fate import Fate
from worker.messages import MessageHandlers
from worker.overtime import OvertimeError
from worker.settings import read_settings
from worker.tasks import MessageInfo


@dataclass
class Failing:
    """Handlers that always fail so, if at all."""

    error: BaseException | None

    def changes(self, payload: str, message: MessageInfo) -> Fate:
        return self._end()

    def record(self, payload: str, message: MessageInfo) -> Fate:
        return self._end()

    def undecodable(self, body: str, reason: str, message: MessageInfo) -> Fate:
        return self._end()

    def _end(self) -> Fate:
        if self.error is not None:
            raise self.error
        return Fate(3)


def bounded(error: BaseException | None) -> tuple[BoundedAttempts, MemoryDeadLetters]:
    letters = MemoryDeadLetters()
    return BoundedAttempts(Failing(error), letters, "changes", attempts=3), letters


def receipt(count: int) -> MessageInfo:
    return MessageInfo("m-1", count, None, "t-1")


def test_what_goes_well_passes() -> None:
    handlers, letters = bounded(None)
    assert handlers.changes("payload", receipt(9)) == Fate(3)
    assert letters.bodies == []


def test_before_the_last_attempt_a_defect_passes_too() -> None:
    handlers, letters = bounded(KeyError("gone"))
    for count in (1, 2):
        with pytest.raises(KeyError):
            handlers.changes("payload", receipt(count))
    assert letters.bodies == []


@pytest.mark.parametrize("count", [3, 4, 100])
def test_from_the_last_attempt_on_it_becomes_a_dead_letter_with_its_reason(count: int) -> None:
    handlers, letters = bounded(KeyError("gone"))
    fate = handlers.changes("payload", receipt(count))
    ((body, letter),) = letters.bodies
    assert letters.tried.receives == count
    assert (fate.refused, fate.classes) == (1, {"KeyError": 1})
    assert letter.error == "KeyError"
    assert "a defect of the worker at _end, line" in letter.reason
    assert "'gone'" in letter.reason
    envelope = json.loads(body)
    assert json.loads(envelope["body"])[0] == ["payload"]
    assert (envelope["headers"]["task"], envelope["headers"]["id"]) == (CHANGES_TASK, "t-1")


def test_each_kind_of_message_can_be_put_back_as_it_was() -> None:
    handlers, letters = bounded(ZeroDivisionError())
    handlers.record("payload", receipt(3))
    handlers.undecodable("{ broken", "not JSON", receipt(3))
    (record, _), (body, _) = letters.bodies
    assert json.loads(record)["headers"]["task"] == RECORD_TASK
    assert body == "{ broken"


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("away"),
        ContentionError("busy"),
        UnsendableError("too long"),
        MemoryError(),
        OvertimeError(),
        SystemExit(),
    ],
)
def test_what_waiting_mends_or_the_main_process_settles_passes_however_often_it_came(
    error: BaseException,
) -> None:
    handlers, letters = bounded(error)
    with pytest.raises(type(error)):
        handlers.changes("payload", receipt(1_000))
    assert letters.bodies == []


def test_when_the_dead_letters_are_away_the_message_stays() -> None:
    class Away(MemoryDeadLetters):
        def send_body(self, body: str, letter: object) -> None:
            raise UnavailableError("the dead-letter queue is away")

    handlers = BoundedAttempts(Failing(KeyError()), Away(), "changes", attempts=1)
    with pytest.raises(UnavailableError):
        handlers.changes("payload", receipt(1))


def test_each_process_of_a_worker_has_as_many_attempts_and_lines_as_the_settings_say() -> None:
    queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/changes"
    settings = read_settings(
        {
            "SLUICE_QUEUE_URL": queue,
            "SLUICE_DEAD_LETTER_URL": f"{queue}-dead",
            "SLUICE_ELASTICSEARCH_URL": "http://127.0.0.1:9",
            "SLUICE_TABLES": "tables",
            "SLUICE_ATTEMPTS": "7",
            "SLUICE_LOG_SAMPLE": "30",
        }
    )
    made = handlers(settings, {}, "eu-west-1")()
    assert isinstance(made, BoundedAttempts)
    assert isinstance(made.handlers, MessageHandlers)
    assert (made.queue, made.attempts, made.handlers.sample) == ("changes", 7, 30)
