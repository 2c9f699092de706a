"""A task, a child or a worker that hangs or dies costs time, never a change."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from producer.contract import write_attributes
from tests.faults.conftest import VISIBILITY_S, Stage
from tests.faults.proxy import Fault, Proxy, proxying
from tests.polling import wait_for
from tests.services.engines import Engine
from worker.identity import document_id

pytestmark = [
    pytest.mark.services,
    pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session"),
]

FIRST = "2026-01-02T03:04:05Z"
"""What a redrive has left on a message."""
LIMIT_S = 10
"""The shortest that SLUICE_TASK_LIMIT_S takes; the soft limit is nine tenths of it."""


def send_trouble(stage: Stage, verb: str, flag: Path) -> None:
    """One chunk whose middle item makes trouble the first time, and other chunks around it."""
    stage.send(3, prefix="before")
    trouble = stage.change("trouble", do={"S": f"{verb} {flag}"})
    stage.queues.send([stage.chunk(stage.change("first"), trouble, stage.change("last"))])
    stage.send(3, prefix="behind")


@pytest.mark.parametrize("verb", ["sleep", "hang"])
def test_a_hung_task_is_cut_and_its_chunk_comes_again(
    verb: str, stage: Stage, tmp_path: Path
) -> None:
    worker = stage.workers.start(SLUICE_TASK_LIMIT_S=str(LIMIT_S))
    send_trouble(stage, verb, tmp_path / "flag")
    wait_for("the trouble", (tmp_path / "flag").exists)
    stage.wait_until_drained(LIMIT_S + 20)
    assert worker.poll() is None
    assert max(stage.receives()) == 2
    stage.check()


def test_a_killed_childs_chunk_comes_again(stage: Stage, tmp_path: Path) -> None:
    worker = stage.workers.start()
    send_trouble(stage, "kill", tmp_path / "flag")
    stage.wait_until_drained(30)
    assert worker.poll() is None
    assert max(stage.receives()) == 2
    stage.check()


def test_a_message_that_always_costs_its_process_its_life_time_or_memory_is_a_dead_letter(
    stage: Stage,
) -> None:
    stage.workers.start(
        SLUICE_TASK_LIMIT_S=str(LIMIT_S), SLUICE_ATTEMPTS="1", SLUICE_CONCURRENCY="7"
    )
    poison = {
        verb: stage.chunk(stage.change(verb, do={"S": verb}))
        for verb in ("vanish", "oversleep", "hang!", "swell", "exit", "defect")
    }
    said: Any = write_attributes(first=FIRST)
    for body in poison.values():
        stage.queues.client.send_message(
            QueueUrl=stage.queues.url, MessageBody=body, MessageAttributes=said
        )
    stage.send(6, prefix="others")
    stage.wait_until_drained(LIMIT_S + 25)
    letters = dict(stage.queues.drain_dead())
    for attributes in letters.values():
        assert (attributes["sluice-first"], attributes["sluice-receives"]) == (FIRST, "1")
    errors = {verb: letters.pop(body)["sluice-error"] for verb, body in poison.items()}
    assert letters == {}
    assert errors == {
        "vanish": "LostProcess",
        "oversleep": "TimeLimitExceeded",
        "hang!": "TimeLimitExceeded",
        "swell": "MemoryError",
        "exit": "SystemExit",
        "defect": "KeyError",
    }
    assert max(stage.receives()) == 1
    for verb in poison:
        del stage.items[document_id({"id": {"S": verb}})]
    stage.check()


def test_a_killed_worker_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    worker = stage.workers.start()
    send_trouble(stage, "sleep", tmp_path / "flag")
    stage.send(30, prefix="many")
    wait_for("the trouble", (tmp_path / "flag").exists)
    stage.workers.kill(worker)
    stage.workers.start()
    stage.wait_until_drained(VISIBILITY_S + 25)
    stage.check()


def test_sigterm_ends_what_runs_gives_back_the_rest_and_leaves_no_child(
    stage: Stage, tmp_path: Path
) -> None:
    drain_s = 3
    stage.queues.client.set_queue_attributes(
        QueueUrl=stage.queues.url, Attributes={"VisibilityTimeout": "60"}
    )
    worker = stage.workers.start(SLUICE_DRAIN_S=str(drain_s))
    send_trouble(stage, "sleep", tmp_path / "flag")
    wait_for("the trouble", (tmp_path / "flag").exists)
    children = psutil.Process(worker.pid).children(recursive=True)
    with stage.proxy.broken(Fault("delay", seconds=1, path="_bulk")):
        stage.send(20, prefix="many")
        told = time.monotonic()
        worker.terminate()
        assert worker.wait(drain_s + 8) == 0
    assert time.monotonic() - told < drain_s + 7
    wait_for("the children's end", lambda: not any(c.is_running() for c in children), seconds=3)
    # What it gave back is there at once, not after the minute for which it was hidden.
    stage.workers.start()
    stage.wait_until_drained(20)
    stage.check()


@pytest.fixture
def queue_proxy(elasticmq: Engine) -> Iterator[Proxy]:
    with proxying(elasticmq.url) as proxy:
        yield proxy


def test_a_queue_that_resets_connections_or_is_down_is_waited_for(
    stage: Stage, queue_proxy: Proxy
) -> None:
    worker = stage.workers.start(AWS_ENDPOINT_URL_SQS=queue_proxy.url)
    stage.send(1, prefix="first")
    stage.wait_for_line("chunk applied")
    with queue_proxy.broken(Fault("reset")):
        stage.send(5, prefix="reset")
        stage.wait_for_line("receiving from SQS fails")
    stage.wait_until_drained(25)
    works = len(stage.lines("receiving from SQS works again"))
    with queue_proxy.down():
        stage.send(5, prefix="down")
        stage.wait_for_line("receiving from SQS fails", more_than=works)
    stage.wait_until_drained(25)
    assert worker.poll() is None
    stage.check()
