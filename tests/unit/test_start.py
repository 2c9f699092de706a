"""A worker that starts: it waits for a cluster that does not answer, and says so meanwhile."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import worker.__main__
from examples.posts.tables import posts
from worker.__main__ import prepare
from worker.errors import ConfigurationError
from worker.settings import read_settings


class Cluster(ThreadingHTTPServer):
    """Leaves the first request unanswered, then has no index and refuses to make one."""

    daemon_threads = True

    def __init__(self, health: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.health = health
        self.end = threading.Event()
        self.told: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the worker has hung up on the request that it waited for in vain."""


class Answer(BaseHTTPRequestHandler):
    server: Cluster

    def do_GET(self) -> None:
        self.server.told.append(json.loads(self.server.health.read_text())["waiting"])
        if len(self.server.told) == 1:
            self.server.end.wait(60)
        self.reply(404, {})

    def do_PUT(self) -> None:
        self.reply(400, {"error": {"type": "mapper_parsing_exception", "reason": "no"}})

    def reply(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    server = Cluster(tmp_path / "health")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.end.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_request_at_start_is_short_and_the_worker_says_meanwhile_that_it_waits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.__main__, "PREPARE_S", 0.3)
    monkeypatch.setattr(worker.__main__, "RETRY_S", 0.0)
    settings = read_settings(
        {
            "SLUICE_QUEUE_URL": "https://sqs.example.com/1/changes",
            "SLUICE_DEAD_LETTER_URL": "https://sqs.example.com/1/dead",
            "SLUICE_TABLES": "examples.posts.tables",
            "SLUICE_ELASTICSEARCH_URL": f"http://127.0.0.1:{cluster.server_port}",
            "SLUICE_ELASTICSEARCH_TIMEOUT_S": "50",
            "SLUICE_HEALTH_FILE": str(cluster.health),
        }
    )
    begun = time.monotonic()
    with pytest.raises(ConfigurationError, match="refuses the mappings"):
        prepare(settings, {"posts": posts})
    assert time.monotonic() - begun < settings.elasticsearch_timeout_s
    assert len(cluster.told) >= 2
    assert cluster.told[0] == "posts"


def test_a_silent_cluster_cannot_make_a_start_look_ill() -> None:
    """Four requests of one index between two touches: less than three failed checks take."""
    interval_s, retries = 30.0, 3
    assert worker.__main__.HEALTH_LIMIT_S + retries * interval_s > 4 * worker.__main__.PREPARE_S
