"""What a stage's services get before anything is measured on them, and what a round is timed by."""

from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import pooling
from bench.size import FULL, TINY
from bench.spending import Meter, Spent
from bench.stage import Stage
from tests.workers import Queues


class Sqs:
    """A queue in memory, and what it has seen."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.most = 0
        self.sizes: list[int] = []
        self.deleted = 0

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        self.waiting.append(MessageBody)
        self.most = max(self.most, len(self.waiting))
        self.sizes.append(len(MessageBody))

    def receive_message(self, **_: Any) -> dict[str, Any]:
        count = min(10, len(self.waiting))
        return {"Messages": [{"ReceiptHandle": self.waiting.popleft()} for _ in range(count)]}

    def delete_message(self, **_: Any) -> None:
        self.deleted += 1


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, ExitStack())


def test_full_messages_go_through_the_queue_once_a_stage_never_too_many_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs: Any = Sqs()
    monkeypatch.setattr(stage, "make_queues", lambda: Queues(sqs, "http://h/0/q", "http://h/0/d"))
    for _ in range(2):
        pooling.warm_queue(stage, FULL)
    assert sqs.deleted == len(sqs.sizes) == FULL.warm_messages
    assert sqs.most <= pooling.WAITING
    assert all(200_000 < size <= 262_144 for size in sqs.sizes)


def test_the_first_warm_up_of_a_stage_is_the_long_one_and_each_writes_and_updates(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, str, int]] = []
    keys: dict[str, set[str]] = {}

    def note(side: str) -> Any:
        def run(_: Any, posts: Any, kind: str = "", **__: Any) -> None:
            written.append((side, kind, len(posts)))
            keys.setdefault(kind, {post["id"] for post in posts})

        return run

    class Pool:
        class queues:  # noqa: N801
            url = "http://h/0/q"

        def drain(self) -> None:
            pass

    for name in ("run_parallel_bulk", "run_raw", "drain_queue"):
        monkeypatch.setattr(pooling, name, note(name))
    monkeypatch.setattr(pooling, "send", lambda *_: None)
    monkeypatch.setattr(pooling, "warm_queue", lambda *_: None)
    size = replace(TINY, warm_first=6_000)
    pool: Any = Pool()
    for count in (size.warm_first, size.warm, size.warm):
        written.clear()
        pooling.warm(stage, pool, size)
        assert sum(each for _, _, each in written) == pytest.approx(count, rel=0.01)
        assert {(side, kind) for side, kind, _ in written} == {
            ("run_parallel_bulk", ""),
            ("run_raw", ""),
            ("drain_queue", "INSERT"),
            ("drain_queue", "MODIFY"),
        }
    assert keys["INSERT"] == keys["MODIFY"]


def test_a_meter_times_what_lies_within_it_and_looks_outside_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [10.0]
    looks = iter([Spent(worker=1.0, client=5.0), Spent(worker=1.5, client=5.25, cluster=0.25)])

    def look() -> Spent:
        clock[0] += 7
        return next(looks)

    monkeypatch.setattr("bench.spending.time.perf_counter", lambda: clock[0])
    meter = Meter(100, look)
    with meter:
        clock[0] += 4
    assert meter.rate == 25
    assert meter.cost == Spent(worker=5_000, client=2_500, cluster=2_500)
    assert meter.cores == pytest.approx(0.25)
