"""What a child process cannot settle becomes a dead letter that says why, and can be put back."""

import pytest
from celery.exceptions import TimeLimitExceeded

from producer.contract import CHANGES_TASK, RECORD_TASK
from worker.errors import UnavailableError
from worker.incoming import UNDECODABLE_TASK, Call, read_body
from worker.losses import LostProcess, name_loss, write_body, write_letter
from worker.tasks import BrokenTaskError, TaskFailedError


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (LostProcess("signal 9"), "LostProcess"),
        (TimeLimitExceeded(300), "TimeLimitExceeded"),
        (BrokenTaskError("MemoryError"), "MemoryError"),
        (TaskFailedError("KeyError"), None),
        (UnavailableError("away"), None),
    ],
)
def test_only_a_loss_is_the_main_processs_to_settle(error: Exception, name: str | None) -> None:
    assert name_loss(error) == name


def test_the_letter_says_what_was_lost_how_and_how_often_it_was_tried() -> None:
    letter = write_letter("LostProcess", LostProcess("signal 9 (SIGKILL)"), 3)
    assert letter.error == "LostProcess"
    assert letter.reason == (
        "the process that took it was lost each time; received 3 times: signal 9 (SIGKILL)"
    )
    assert "SLUICE_TASK_LIMIT_S" in write_letter("TimeLimitExceeded", Exception(), 3).reason
    assert "SystemExit" in write_letter("SystemExit", BrokenTaskError("SystemExit"), 3).reason


@pytest.mark.parametrize("task", [CHANGES_TASK, RECORD_TASK])
def test_a_call_is_written_as_the_message_it_came_from(task: str) -> None:
    body = write_body(task, "t-1", ["payload"], "main")
    assert read_body(body) == Call(task, "t-1", "payload")


def test_a_body_that_was_no_call_is_written_as_it_was() -> None:
    assert write_body(UNDECODABLE_TASK, "t-1", ["{ broken", "no JSON"], "main") == "{ broken"
