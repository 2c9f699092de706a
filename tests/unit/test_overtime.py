"""Time that runs out while something outside is awaited is an outage of that, not a defect."""

from collections.abc import Callable
from typing import Any

import pytest

from producer.contract import Change, Overflow
from worker.deadletters import DeadLetterQueue, Letter
from worker.errors import UnansweredError
from worker.overflow import Bucket
from worker.overtime import OvertimeError
from worker.source import DynamoSource


class Slow:
    """A client of AWS in whose every call the task's time runs out."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(**_: object) -> object:
            raise OvertimeError(name)

        return call


SLOW: Any = Slow()
CLAIM = Change("INSERT", {"id": {"S": "a"}}, 0, "1", overflow=Overflow("key", 10))

WAITS: dict[str, Callable[[], object]] = {
    "the overflow bucket": lambda: Bucket(SLOW, "bucket").fetch(CLAIM),
    "DynamoDB": lambda: DynamoSource(SLOW).read("posts", [{"id": {"S": "a"}}]),
    "the dead-letter queue": lambda: DeadLetterQueue(SLOW, "", "").send_body("", Letter("E", "")),
}


@pytest.mark.parametrize("what", WAITS)
def test_a_cut_while_waiting_is_an_outage(what: str) -> None:
    with pytest.raises(UnansweredError, match=f"before {what} answered"):
        WAITS[what]()
