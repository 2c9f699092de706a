"""What workers say of themselves in the cluster, on every engine, and where they may not."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.polling import wait_for
from tests.services.engines import Engine
from worker.cluster import Cluster, connect, path
from worker.ledger import Ledger
from worker.notice import Noticeboard, Writer
from worker.state import (
    FORGET_MS,
    INDEX,
    LagCounts,
    Totals,
    ValveState,
    WorkerState,
    delete_state,
    ensure_state_index,
    put_state,
    read_states,
    read_word,
    request_open,
    state_id,
)

NOW = time.time_ns() // 1_000_000


@pytest.fixture
def cluster(search_engine: Engine) -> Iterator[Cluster]:
    connection = connect(search_engine.url, timeout_s=30)
    yield connection
    connection.close()


def state_of(queue: str, worker: str = "host:1", at: int = NOW, **more: Any) -> WorkerState:
    return WorkerState(queue, worker, at, NOW - 1_000, **more)


def refresh(cluster: Cluster) -> None:
    assert cluster.request("POST", path(INDEX, "_refresh")).status == 200


def test_before_any_worker_wrote_there_is_nothing_to_read_and_no_word(
    cluster: Cluster, fresh_name: str
) -> None:
    assert read_states(cluster, fresh_name) == []
    assert read_word(cluster, fresh_name) is None


def test_each_queue_has_its_own_workers_and_what_they_wrote_comes_back(
    cluster: Cluster, fresh_name: str
) -> None:
    ensure_state_index(cluster)
    ensure_state_index(cluster)
    states = [
        state_of(
            fresh_name,
            f"host:{n}",
            concurrency=4,
            polling=True,
            breaker="trial",
            valve=ValveState("shut", NOW, NOW + 60_000, "312 of 400 changes refused in 60 s"),
            in_work=3,
            held=1,
            lag=LagCounts(300, (1, 2.5), (5, 0, 2)),
            totals=Totals(7, 1, 2, 3, 1),
            refused={"mapper_parsing_exception": 3, "a.b": 1},
        )
        for n in (1, 2)
    ]
    for state in (*states, state_of(f"{fresh_name}-b")):
        put_state(cluster, state)
        put_state(cluster, state)
    refresh(cluster)
    assert read_states(cluster, fresh_name) == states
    delete_state(cluster, fresh_name, "host:1")
    delete_state(cluster, fresh_name, "host:1")
    refresh(cluster)
    assert read_states(cluster, fresh_name) == states[1:]


def test_no_field_of_a_state_becomes_a_field_of_the_mapping_and_the_index_is_hidden(
    cluster: Cluster, fresh_name: str
) -> None:
    ensure_state_index(cluster)
    put_state(cluster, state_of(fresh_name, refused={"mapper_parsing_exception": 3}))
    live = cluster.request("GET", path(INDEX)).body[INDEX]
    assert set(live["mappings"]["properties"]) == {"kind", "queue", "worker", "at", "open_at"}
    assert str(live["settings"]["index"]["hidden"]).lower() == "true"


def test_a_word_is_later_than_every_valve_that_shut_whatever_the_clocks_say(
    cluster: Cluster, fresh_name: str
) -> None:
    ensure_state_index(cluster)
    ahead = NOW + 90_000
    put_state(cluster, state_of(fresh_name, valve=ValveState("shut", ahead)))
    refresh(cluster)
    said = request_open(cluster, fresh_name, NOW, "x" * 1_000)
    assert said.open_at == ahead + 1
    assert len(said.by) == 200
    assert read_word(cluster, fresh_name) == said
    assert read_word(cluster, f"{fresh_name}-b") is None


class Gate:
    """As far as a writer needs one."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.valve = "shut"
        self.since = NOW

    def status(self) -> dict[str, object]:
        return {"valve": self.valve, "valve_since": self.since, "valve_why": "why"}

    def open(self, word: str) -> None:
        self.words.append(word)


class Channel:
    """A channel with nothing in work."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.polled_at = time.monotonic()

    @property
    def qos(self) -> "Channel":
        return self

    def held(self) -> dict[str, object]:
        return {}


@contextmanager
def writing(cluster: Cluster, queue: str) -> Iterator[tuple[Writer, Gate]]:
    channel = Channel()
    writer = Writer(Noticeboard(cluster, queue, 4, every_s=0.05), Ledger(), channel)
    writer.start()
    try:
        yield writer, channel.gate
    finally:
        writer.end()
        writer.join(10)


def there(cluster: Cluster, id: str) -> bool:
    return cluster.request("GET", path(INDEX, "_doc", id)).status == 200


def test_a_worker_is_seen_while_it_runs_forgets_the_dead_and_leaves_nothing(
    cluster: Cluster, fresh_name: str
) -> None:
    ensure_state_index(cluster)
    put_state(cluster, state_of(fresh_name, "dead:1", NOW - FORGET_MS - 60_000))
    put_state(cluster, state_of(fresh_name, "killed:1", NOW - 60_000))
    refresh(cluster)
    with writing(cluster, fresh_name) as (writer, _):
        mine = state_id(fresh_name, writer._worker)
        wait_for("its note", lambda: there(cluster, mine))
        assert not there(cluster, state_id(fresh_name, "dead:1"))
        assert there(cluster, state_id(fresh_name, "killed:1"))
    assert not there(cluster, mine)


@pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session")
def test_a_word_is_obeyed_once_and_only_by_a_valve_that_had_shut_before(
    cluster: Cluster, fresh_name: str
) -> None:
    ensure_state_index(cluster)
    request_open(cluster, fresh_name, NOW - 5_000, "too early")
    with writing(cluster, fresh_name) as (writer, gate):
        wait_for("its note", lambda: there(cluster, state_id(fresh_name, writer._worker)))
        assert gate.words == []
        request_open(cluster, fresh_name, NOW + 1, "anna")
        wait_for("the word", lambda: gate.words)
        time.sleep(0.2)  # nothing more may happen: there is nothing to wait for
        assert gate.words == ["by anna, through the cluster"]
        gate.since = NOW + 2  # it shut again
        time.sleep(0.2)
        assert len(gate.words) == 1


def answering(status: int, asked: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(self.path)
            body = json.dumps({"error": {"type": "security_exception", "reason": "no"}}).encode()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_PUT()

        def do_DELETE(self) -> None:
            self.do_PUT()

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody asks."""

    return Handler


def test_a_key_that_may_not_write_there_is_told_of_once_and_disturbs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[str] = []
    http = HTTPServer(("127.0.0.1", 0), answering(403, asked))
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    cluster = connect(f"http://127.0.0.1:{http.server_address[1]}", timeout_s=5)
    with caplog.at_level(logging.WARNING), writing(cluster, "changes"):
        wait_for("several tries", lambda: len(asked) > 5)
    http.shutdown()
    http.server_close()
    thread.join()
    cluster.close()
    (line,) = [record for record in caplog.records if record.name == "worker.notice"]
    assert "cannot note its state" in line.getMessage()
    assert "privilege" in line.getMessage()
