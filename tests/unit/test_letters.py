"""When, and how often, a refused change is sent to the dead-letter queue."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kit.aws import client_error
from kit.memory import MemoryDocuments, MemorySource
from producer.contract import DEAD_LETTER_RESERVE_BYTES, Item, decode_chunk
from tests.unit.test_apply import DAY, NOW, World, change, chunk
from worker.deadletters import DeadLetterQueue, Letter, Tried
from worker.errors import RefusedError, UnavailableError, UnsendableError
from worker.index import Result, Write
from worker.outcomes import Outcome

POISON = {"poison": {"S": "x"}}
BAD_NUMBER = {"n": {"N": "no number"}}


@dataclass
class HalfAway(MemoryDocuments):
    """Takes every write but those of `b`, for as long as it is told."""

    away: bool = True

    def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
        results = super().write(alias, [w for w in writes if not self._is_away(w)])
        return results + [
            Result(write.operation.target, Outcome.UNAVAILABLE, "es_rejected_execution_exception")
            for write in writes
            if self._is_away(write)
        ]

    def _is_away(self, write: Write) -> bool:
        return self.away and write.operation.target.id == "b"


@pytest.mark.parametrize("bad", [POISON, BAD_NUMBER])
def test_a_chunk_that_comes_again_and_again_sends_a_refused_change_once(
    bad: dict[str, dict[str, Any]],
) -> None:
    documents = HalfAway()
    world = World(documents=documents)
    applier = world.applier()
    one = chunk(change("INSERT", "a", 1, new=bad), change("INSERT", "b", 2))
    for _ in range(5):
        with pytest.raises(UnavailableError):
            applier.apply(one)
    assert world.deadletters.changes == []
    documents.away = False
    tally = applier.apply(one)
    (letter,) = world.deadletters.changes
    assert letter[1].key == {"id": {"S": "a"}}
    assert (tally.applied, tally.refused) == (1, 1)


@dataclass
class Picky(MemorySource):
    """A table that refuses a request with a key it cannot have, as DynamoDB does."""

    def read(self, table: str, keys: Sequence[Item]) -> list[Item | None]:
        if any(key["id"]["S"].startswith("bad") for key in keys):
            raise RefusedError("MalformedKey", "the key does not match the schema")
        return super().read(table, keys)


def test_an_old_change_whose_key_the_table_refuses_is_refused_alone() -> None:
    world = World(source=Picky())
    names = ["a", "b", "bad", "c", "bad too"]
    world.source.items = {("posts", f'{{"id":{{"S":"{n}"}}}}'): {"id": {"S": n}} for n in names}
    old = [change("MODIFY", name, n, at=NOW - 99 * DAY) for n, name in enumerate(names, 1)]
    tally = world.applier().apply(chunk(*old))
    assert set(world.live()) == {"a", "b", "c"}
    assert [c.key["id"]["S"] for _, c, _ in world.deadletters.changes] == ["bad", "bad too"]
    assert (tally.applied, tally.refused) == (3, 2)


@dataclass
class StrictSqs:
    """SQS as far as the dead-letter queue uses it, with its limit."""

    limit: int = 100
    sent: list[dict[str, Any]] = field(default_factory=list)

    def send_message(self, **request: Any) -> None:
        attributes = request["MessageAttributes"]
        size = len(request["MessageBody"]) + sum(
            len(name) + len(a["DataType"]) + len(a["StringValue"]) for name, a in attributes.items()
        )
        if size > self.limit:
            raise client_error("InvalidParameterValue", 400)
        self.sent.append(request)


def dead_letters(sqs: StrictSqs) -> DeadLetterQueue:
    client: Any = sqs
    return DeadLetterQueue(client, "https://sqs/dead", "main")


def test_a_letter_says_how_often_its_message_was_tried_and_since_when() -> None:
    sqs = StrictSqs(limit=10_000)
    letters = dead_letters(sqs)
    letters.begin(Tried(3, 1_767_323_045_999))
    letters.send_body("body", Letter("TooBad", "why"))
    said = {name: a["StringValue"] for name, a in sqs.sent[0]["MessageAttributes"].items()}
    assert said["sluice-receives"] == "3"
    assert said["sluice-first"] == "2026-01-02T03:04:05Z"


def test_all_attributes_fit_the_room_that_each_message_leaves_and_the_number_sqs_takes() -> None:
    sqs = StrictSqs(limit=DEAD_LETTER_RESERVE_BYTES)
    letters = dead_letters(sqs)
    letters.begin(Tried(1_000_000, 10**14 - 1))
    # The longest names of DynamoDB and Elasticsearch, and an id as long as one may be there.
    letters.send_body("", Letter("E" * 255, "r" * 9_999, "t" * 255, "i" * 255, "d" * 512))
    assert len(sqs.sent[0]["MessageAttributes"]) == 9


def test_a_message_with_no_room_for_its_reason_is_sent_with_its_error_alone() -> None:
    sqs = StrictSqs()
    dead_letters(sqs).send_body("x" * 60, Letter("TooBad", "why" * 20))
    (request,) = sqs.sent
    assert request["MessageBody"] == "x" * 60
    assert set(request["MessageAttributes"]) == {"sluice-error"}


def test_a_message_that_the_queue_never_takes_is_no_outage() -> None:
    with pytest.raises(UnsendableError):
        dead_letters(StrictSqs(limit=10)).send_body("x" * 60, Letter("TooBad", "why"))


def test_a_dead_letter_of_a_handler_is_addressed_to_it_when_it_comes_back() -> None:
    sqs = StrictSqs(limit=10_000)
    one = change("INSERT", "a", 1)
    addressed = replace(chunk(one, change("INSERT", "b", 2)), handler="mailer")
    dead_letters(sqs).send_change(addressed, one, Letter("TooBad", "why"))
    (payload,), _, _ = json.loads(json.loads(sqs.sent[0]["MessageBody"])["body"])
    assert decode_chunk(payload) == replace(addressed, changes=(one,))
