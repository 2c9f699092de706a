"""Our transport survives what stops, crashes or loses on the stock one: a real worker shows it.

The tests of the stock transport fail on purpose. Should one pass, upstream has mended the fault,
and what we do about it may go.
"""

import base64
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from producer.contract import CHANGES_TASK, write_envelope
from tests import fake_sqs
from tests.fake_sqs import FakeSqs, Fault
from tests.services.engines import Engine
from tests.transport_process import Worker, wait_for, worker_on
from tests.workers import connect_sqs
from worker.watchdog import STALLED, is_healthy

THROTTLED: list[Fault] = ["400-throttled", "403-throttled", "429"]
RECEIVE_FAULTS: list[Fault] = [
    *("200-html", "200-list", "400", "403", "500", "503", "close", "reset"),
    *THROTTLED,
]
DELETE_FAULTS: list[Fault] = ["400", "403", "503", "reset", *THROTTLED]
HUNG_S = 9.0


def write(payload: str) -> str:
    return write_envelope(payload, "main")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSqs]:
    with fake_sqs.running(visibility_s=2) as server:
        yield server


@pytest.fixture(scope="module")
def ours(fake: FakeSqs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker on our transport, for all the faults in this module: it must outlive them."""
    folder = tmp_path_factory.mktemp("ours")
    with worker_on(fake.endpoint, fake.queue_url, fake.dead_url, folder) as worker:
        fake.send(write("first"))
        assert worker.did("first"), worker.log
        yield worker


def recovers_from(fake: FakeSqs, worker: Worker, fault: Fault, seconds: float) -> bool:
    """Let two polls fail, mend SQS, send a message: is it done in time?"""
    before = fake.calls["ReceiveMessage"]
    fake.fail("ReceiveMessage", fault)
    wait_for(lambda: fake.calls["ReceiveMessage"] >= before + 2, 3)
    fake.fail("ReceiveMessage", None)
    payload = f"after {fault}"
    fake.send(write(payload))
    return worker.did(payload, seconds) and worker.alive


@pytest.mark.parametrize("fault", RECEIVE_FAULTS)
def test_polling_goes_on_after(fault: Fault, fake: FakeSqs, ours: Worker) -> None:
    assert recovers_from(fake, ours, fault, 30), ours.log


def test_polling_goes_on_after_a_socket_hangs(fake: FakeSqs, ours: Worker) -> None:
    assert recovers_from(fake, ours, "hang", 30), ours.log


def test_polling_goes_on_after_the_endpoint_was_down(fake: FakeSqs, ours: Worker) -> None:
    with fake.down():
        assert wait_for(lambda: "curl 7" in ours.log), ours.log
    fake.send(write("after down"))
    assert ours.did("after down"), ours.log


def test_polls_come_ever_more_slowly_and_the_log_says_so_once(fake: FakeSqs, ours: Worker) -> None:
    before, logged = fake.calls["ReceiveMessage"], ours.log.count("HTTP 500 InternalError")
    fake.fail("ReceiveMessage", "500")
    assert not wait_for(lambda: fake.calls["ReceiveMessage"] > before + 12, 4)
    assert fake.calls["ReceiveMessage"] >= before + 3
    assert ours.log.count("HTTP 500 InternalError") == logged + 1
    works = ours.log.count("works again")
    fake.fail("ReceiveMessage", None)
    assert wait_for(lambda: ours.log.count("works again") == works + 1)


def test_empty_answers_are_no_fault(fake: FakeSqs, ours: Worker) -> None:
    warnings = ours.log.count("WARNING")
    before = fake.calls["ReceiveMessage"]
    fake.fail("ReceiveMessage", "empty")
    assert wait_for(lambda: fake.calls["ReceiveMessage"] >= before + 5)
    fake.fail("ReceiveMessage", None)
    assert ours.log.count("WARNING") == warnings


def deletes_after(fake: FakeSqs, worker: Worker, fault: Fault, seconds: float) -> bool:
    """Let a delete fail: does the message come again, to be deleted then?"""
    payload = f"delete {fault}"
    fake.fail("DeleteMessage", fault)
    (message,) = fake.send(write(payload))
    refused = fake.calls["DeleteMessage"]
    done = worker.did(payload) and wait_for(lambda: fake.calls["DeleteMessage"] > refused, seconds)
    fake.fail("DeleteMessage", None)
    fake.send(write(f"{payload}, then"))
    done = done and worker.did(f"{payload}, then", seconds)
    return done and wait_for(lambda: message in fake.deleted, seconds) and worker.alive


@pytest.mark.parametrize("fault", DELETE_FAULTS)
def test_a_message_whose_delete_failed_comes_again(
    fault: Fault, fake: FakeSqs, ours: Worker
) -> None:
    assert deletes_after(fake, ours, fault, 30), ours.log
    assert "is done but not deleted" in ours.log


def test_deletes_that_hang_one_after_the_other_do_not_look_like_a_worker_that_no_longer_polls(
    tmp_path: Path,
) -> None:
    limits: dict[str, Any] = {"concurrency": 5, "stall_margin_s": 9}
    with (
        fake_sqs.running(visibility_s=60) as fake,
        worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path, **limits) as worker,
    ):
        (first,) = fake.send(write("first"))
        assert wait_for(lambda: first in fake.deleted), worker.log
        fake.fail("DeleteMessage", "hang")
        # All end at the same moment, so their deletes follow each other without a look at the loop.
        flag = tmp_path / "go"
        fake.send(*(write(f"until {flag}") for _ in range(5)))
        assert wait_for(lambda: len(worker.calls("changes", f"until {flag}")) == 5), worker.log
        flag.touch()
        assert wait_for(lambda: worker.log.count("is done but not deleted") >= 4, 60), worker.log
        assert worker.alive
        fake.fail("DeleteMessage", None)
        fake.send(write("after"))
        assert worker.did("after"), worker.log


@pytest.mark.parametrize("fault", ["503", "403"])
def test_a_worker_starts_while_sqs_is_away(fault: Fault, tmp_path: Path) -> None:
    with fake_sqs.running() as fake:
        for operation in ("ReceiveMessage", "GetQueueAttributes"):
            fake.fail(operation, fault)
        with worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path) as worker:
            assert wait_for(lambda: fake.calls["ReceiveMessage"] >= 2), worker.log
            fake.fail("ReceiveMessage", None)
            fake.send(write("at last"))
            assert worker.did("at last"), worker.log


# Tasks that do not end well


@pytest.mark.parametrize("end", ["fail", "exit", "memory", "kill"])
def test_a_message_comes_again_when_its_task_ends_by(end: str, fake: FakeSqs, ours: Worker) -> None:
    (message,) = fake.send(write(f"once {end}"))
    assert wait_for(lambda: message in fake.deleted), ours.log
    assert [c["count"] for c in ours.calls("changes", f"once {end}")] == [1, 2]
    if end != "kill":  # noticed late: the message may be visible before
        assert (message.id, 1) in fake.hidden
    assert ours.alive


def test_the_wait_grows_with_every_receipt(fake: FakeSqs, ours: Worker, tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    (message,) = fake.send(write(f"broken {flag}"))
    assert wait_for(lambda: message.received >= 4)
    flag.touch()
    assert wait_for(lambda: message in fake.deleted), ours.log
    calls = ours.calls("changes", f"broken {flag}")
    first, second, third, fourth = (call["at"] for call in calls[:4])
    # Half to all of 1, 2 and 4 s, in whole seconds: only the first and the third cannot meet.
    assert 0.9 < second - first <= third - second + 0.5
    assert second - first + 0.5 < fourth - third


def test_time_limits_give_the_message_back(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"soft_time_limit": 1, "hard_time_limit": 2}
    with (
        fake_sqs.running() as fake,
        worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path, **limits) as worker,
    ):
        soft, hard = fake.send(write("once sleep 20"), write("once hang 20"))
        assert wait_for(lambda: {soft.id, hard.id} <= {m.id for m in fake.deleted}, 30), worker.log
        assert "BrokenTaskError" in worker.log
        assert "Hard time limit" in worker.log
        assert worker.alive


def test_a_child_that_does_not_begin_its_task_is_killed_and_another_takes_it(
    tmp_path: Path,
) -> None:
    limits: dict[str, Any] = {"concurrency": 1, "soft_time_limit": 2, "hard_time_limit": 4}
    with (
        fake_sqs.running(visibility_s=2) as fake,
        worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path, **limits) as worker,
    ):
        (first,) = fake.send(write("first"))
        # Told done, too: stopped before it tells, the child would meet the limit of this task.
        assert wait_for(lambda: first in fake.deleted), worker.log
        (child,) = psutil.Process(worker.process.pid).children()
        child.send_signal(signal.SIGSTOP)
        (message,) = fake.send(write("second"))
        assert wait_for(lambda: message in fake.deleted), worker.log
        assert message.received == 1
        assert "has not begun the task" in worker.log
        assert not child.is_running()


def test_the_last_loss_of_a_message_dead_letters_it_before_it_is_deleted(tmp_path: Path) -> None:
    with (
        fake_sqs.running() as fake,
        worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path, attempts=2) as worker,
    ):
        fake.fail("SendMessage", "503")
        poison, other = fake.send(write("memory"), write("fail"))
        assert wait_for(lambda: poison.received >= 3), worker.log
        assert (poison in fake.deleted, fake.dead) == (False, [])
        fake.fail("SendMessage", None)
        assert wait_for(lambda: poison in fake.deleted), worker.log
        (letter,) = fake.dead
        assert letter["MessageBody"] == poison.body
        attributes = {k: v["StringValue"] for k, v in letter["MessageAttributes"].items()}
        assert attributes["sluice-error"] == "MemoryError"
        assert f"received {poison.received} times" in attributes["sluice-reason"]
        assert other not in fake.deleted
        assert worker.alive


def test_tasks_know_their_message(fake: FakeSqs, ours: Worker) -> None:
    (message,) = fake.send(write("known"))
    assert ours.did("known")
    (call,) = ours.calls("done", "known")
    assert (call["message"], call["count"], call["sent"]) == (message.id, 1, message.sent_ms)


# Waiting


def test_an_outage_of_any_length_costs_no_receipt(tmp_path: Path) -> None:
    flag = tmp_path / "cluster is back"
    with (
        fake_sqs.running(visibility_s=2) as fake,
        worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path) as worker,
    ):
        messages = fake.send(*(write(f"away {flag}") for _ in range(6)))
        assert wait_for(lambda: "taking no messages" in worker.log), worker.log
        time.sleep(2)  # the poll that was under way
        polls = fake.calls["ReceiveMessage"]
        assert not wait_for(lambda: any(m.received > 1 for m in messages), 4), worker.log
        assert fake.calls["ReceiveMessage"] == polls
        flag.touch()
        assert wait_for(lambda: all(m in fake.deleted for m in messages)), worker.log
        assert {m.received for m in messages} == {1}
        assert worker.log.count("taking no messages") == 1


@pytest.mark.parametrize(
    ("payload", "line"),
    [("unavailable", "taking no messages"), ("contention", "is set aside")],
)
def test_messages_held_or_aside_are_given_back_by_sigterm(
    payload: str, line: str, tmp_path: Path
) -> None:
    with (
        fake_sqs.running(visibility_s=600) as fake,
        worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path) as worker,
    ):
        (message,) = fake.send(write(payload))
        assert wait_for(lambda: line in worker.log), worker.log
        assert worker.end() == 0
        assert (message.id, 0) in fake.hidden
        assert fake.deleted == []


def test_a_message_that_others_keep_from_being_applied_costs_no_receipt_and_no_pause(
    fake: FakeSqs, ours: Worker, tmp_path: Path
) -> None:
    flag = tmp_path / "quiet"
    (message,) = fake.send(write(f"contention {flag}"))
    fake.send(write("beside it"))
    assert ours.did("beside it"), ours.log
    assert wait_for(lambda: len(ours.calls("changes", f"contention {flag}")) >= 3), ours.log
    flag.touch()
    assert wait_for(lambda: message in fake.deleted), ours.log
    assert message.received == 1


def test_long_work_is_not_handed_out_twice(fake: FakeSqs, ours: Worker) -> None:
    (message,) = fake.send(write("sleep 5"))
    assert wait_for(lambda: message in fake.deleted), ours.log
    assert message.received == 1


def test_a_worker_that_polls_no_more_ends_with_a_code_of_its_own(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"stall_margin_s": 1, "health_file": str(tmp_path / "health")}
    with (
        fake_sqs.running() as fake,
        worker_on(
            fake.endpoint, fake.queue_url, fake.dead_url, tmp_path, "stalling", **settings
        ) as worker,
    ):
        assert worker.process.wait(30) == STALLED, worker.log
        assert (tmp_path / "health").exists()


# The end


def test_sigterm_lets_tasks_end_and_the_watchdog_does_not_cut_them(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"stall_margin_s": 1, "health_file": str(tmp_path / "health")}
    with (
        fake_sqs.running() as fake,
        worker_on(fake.endpoint, fake.queue_url, fake.dead_url, tmp_path, **settings) as worker,
    ):
        (message,) = fake.send(write("sleep 4"))
        assert wait_for(lambda: worker.calls("changes")), worker.log
        assert worker.end() == 0
        assert message in fake.deleted
        assert worker.calls("done", "sleep 4")
        assert is_healthy(tmp_path / "health", time.time(), 3)


def test_a_drain_ends_in_time_and_gives_back_what_is_late(tmp_path: Path) -> None:
    with (
        fake_sqs.running(visibility_s=600) as fake,
        worker_on(
            fake.endpoint, fake.queue_url, fake.dead_url, tmp_path, drain_seconds=1
        ) as worker,
    ):
        late = fake.send(write("sleep 60"), write("hang 60"))
        assert wait_for(lambda: len(worker.calls("changes")) == 2), worker.log
        assert worker.end(seconds=15) == 0
        assert {(m.id, 0) for m in late} <= set(fake.hidden)
        assert fake.deleted == []


# Malformed messages


def altered(**fields: object) -> str:
    envelope = json.loads(write("bad")) | fields
    return json.dumps({k: v for k, v in envelope.items() if v is not ...})


def headed(**headers: object) -> str:
    return altered(headers={"task": CHANGES_TASK, "id": "x"} | headers)


MALFORMED = {
    "empty": " ",
    "text": "hello",
    "json text": '"hello"',
    "json list": "[1]",
    "flat json": '{"task": "sluice.changes", "args": ["x"], "id": "1", "kwargs": {}}',
    "half json": write("bad")[:80],
    "deep json": '{"a":' * 5000 + "1" + "}" * 5000,
    "base64 of text": base64.b64encode(b"hello").decode(),
    "base64 of bytes": base64.b64encode(b"\xff\x00").decode(),
    "no content type": altered(**{"content-type": ...}),
    "pickle": altered(**{"content-type": "application/x-python-serialize"}),
    "unknown content type": altered(**{"content-type": "text/nothing"}),
    "unknown encoding": altered(**{"content-encoding": "rot13"}),
    "no headers": altered(headers=...),
    "no id": headed(id=None),
    "unknown task": headed(task="no.such"),
    "task of celery": headed(task="celery.chain"),
    "internal task": headed(task="sluice.undecodable"),
    "no inner body": altered(body=...),
    "inner no json": altered(body="{{{"),
    "inner two": altered(body='[["x"], {}]'),
    "two arguments": altered(body='[["x", "y"], {}, {}]'),
    "argument with a marker": altered(body='[[{"__type__":"no","__value__":1}], {}, {}]'),
    "keywords": altered(body='[["x"], {"a": 1}, {}]'),
    "chain": altered(body='[["x"], {}, {"chain": [{"task": "no.such"}]}]'),
    "marker in the envelope": altered(**{"content-type": {"__type__": "no", "__value__": 1}}),
}
LIES = {
    "properties null": altered(properties=None),
    "unknown body encoding": altered(properties={"body_encoding": "rot13"}),
    "flagged base64": altered(properties={"body_encoding": "base64"}),
    "bad compression": headed(compression="application/x-gzip"),
    "bad eta": headed(eta="tomorrow"),
    "eta in a year": headed(eta="2099-01-01T00:00:00+00:00"),
    "expired": headed(expires="2000-01-01T00:00:00+00:00"),
    "other queue": altered(properties={"delivery_info": {"routing_key": "other"}}),
}


def test_no_malformed_message_crashes_the_worker_or_is_lost(fake: FakeSqs, ours: Worker) -> None:
    dead_before = len(fake.dead)
    restarts = ours.log.count("ready.")
    bad = fake.send(*MALFORMED.values())
    lies = fake.send(*LIES.values())
    assert wait_for(lambda: all(m in fake.deleted for m in bad + lies), 30), ours.log
    undecodable = {c["message"]: c for c in ours.calls("undecodable")}
    assert {m.id for m in bad} <= undecodable.keys()
    assert all(undecodable[m.id]["reason"] for m in bad)
    dead = {d["MessageBody"] for d in fake.dead[dead_before:]}
    assert dead == set(MALFORMED.values())
    assert {m.id for m in lies} <= {c["message"] for c in ours.calls("done", "bad")}
    assert ours.log.count("ready.") == restarts
    assert ours.alive


def test_an_unreadable_message_is_kept_while_the_dead_letter_queue_refuses(
    fake: FakeSqs, ours: Worker
) -> None:
    fake.fail("SendMessage", "403")
    (bad,) = fake.send("nobody can read this")
    assert wait_for(lambda: bad.received >= 2)
    assert bad not in fake.deleted
    fake.fail("SendMessage", None)
    assert wait_for(lambda: bad in fake.deleted), ours.log
    assert "nobody can read this" in {d["MessageBody"] for d in fake.dead}


def test_many_messages_are_each_done_once(fake: FakeSqs, ours: Worker) -> None:
    messages = fake.send(*(write(f"many {n}") for n in range(200)))
    assert wait_for(lambda: all(m in fake.deleted for m in messages), 30), ours.log
    assert all(m.received == 1 for m in messages)
    assert threading.active_count() < 100


def test_a_real_queue_keeps_what_is_malformed_and_what_always_fails(
    elasticmq: Engine, fresh_name: str, tmp_path: Path
) -> None:
    sqs = connect_sqs(elasticmq.url)
    dead = sqs.create_queue(QueueName=f"{fresh_name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    redrive = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": "2"})
    url = sqs.create_queue(
        QueueName=fresh_name, Attributes={"VisibilityTimeout": "3", "RedrivePolicy": redrive}
    )["QueueUrl"]
    poison = write_envelope("fail", fresh_name)
    expected = {poison, *(body for body in MALFORMED.values() if body.strip())}
    for body in (*expected, *LIES.values()):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    found: set[str] = set()

    def all_found() -> bool:
        answer = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10)
        found.update(message["Body"] for message in answer.get("Messages", []))
        return found >= expected

    with worker_on(elasticmq.url, url, dead, tmp_path) as worker:
        assert wait_for(all_found, 30), (expected - found, worker.log)
        assert found == expected
        assert wait_for(lambda: len(worker.calls("done", "bad")) == len(LIES)), worker.log
        assert worker.end() == 0


# The stock transport


def lives_on_after_malformed(fake: FakeSqs, worker: Worker, kind: str) -> bool:
    """Send a malformed message: is it kept, and is the next one done?"""
    (bad,) = fake.send((MALFORMED | LIES)[kind])
    wait_for(lambda: bad.received >= 1)
    fake.send(write("after"))
    return worker.did("after", 4) and worker.alive and bad not in fake.deleted


def waits_after_failure(fake: FakeSqs, end: str) -> bool:
    """Let a task fail once: does the message come again, soon but not at once?"""
    (message,) = fake.send(write(f"once {end}"))
    done = wait_for(lambda: message in fake.deleted, 4)
    return done and message.received == 2 and (message.id, 1) in fake.hidden


STOCK: dict[str, Callable[[FakeSqs, Worker], bool]] = {
    "polling goes on after 503": lambda f, w: recovers_from(f, w, "503", 3),
    "polling goes on after 403": lambda f, w: recovers_from(f, w, "403", 3),
    "polling goes on after close": lambda f, w: recovers_from(f, w, "close", 3),
    "polling goes on after hang": lambda f, w: recovers_from(f, w, "hang", HUNG_S),
    "a denied delete does no harm": lambda f, w: deletes_after(f, w, "403", 8),
    "a failure gives back": lambda f, w: waits_after_failure(f, "fail"),
    "MemoryError gives back": lambda f, w: waits_after_failure(f, "memory"),
    "no content type": lambda f, w: lives_on_after_malformed(f, w, "no content type"),
    "no JSON inside": lambda f, w: lives_on_after_malformed(f, w, "inner no json"),
    "properties null": lambda f, w: lives_on_after_malformed(f, w, "properties null"),
    "expired": lambda f, w: lives_on_after_malformed(f, w, "expired"),
}


def run_stock(scenario: Callable[[FakeSqs, Worker], bool], folder: Path) -> bool:
    """Run a scenario on a worker with the stock transport, and a queue of its own."""
    with (
        fake_sqs.running(visibility_s=2) as server,
        worker_on(server.endpoint, server.queue_url, server.dead_url, folder, "stock") as worker,
    ):
        server.send(write("first"))
        if not worker.did("first", 30):
            raise RuntimeError(f"the stock worker does not run at all: {worker.log}")
        return scenario(server, worker)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[bool]]]:
    """The outcome of each scenario: they mostly wait, so they run side by side."""
    with ThreadPoolExecutor(4) as pool:
        yield {
            name: pool.submit(run_stock, scenario, tmp_path_factory.mktemp("stock"))
            for name, scenario in STOCK.items()
        }


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="celery and kombu 5.7.0")
@pytest.mark.parametrize("scenario", STOCK)
def test_stock_does_as_well(scenario: str, stock: dict[str, Future[bool]]) -> None:
    assert stock[scenario].result(120)
