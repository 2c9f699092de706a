"""A service that hangs costs a task a part of its time, and not all of it."""

import socket
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.config import Config

import worker.__main__ as root
from producer.contract import Change, Overflow
from worker.errors import UnansweredError, UnavailableError
from worker.overflow import Bucket
from worker.settings import SOFT_SHARE, read_settings

KEYS: Any = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
NEEDED = {
    "SLUICE_QUEUE_URL": "https://sqs.example.com/1/changes",
    "SLUICE_DEAD_LETTER_URL": "https://sqs.example.com/1/dead",
    "SLUICE_ELASTICSEARCH_URL": "https://search.example.com",
    "SLUICE_TABLES": "unused",
}


def add_up(config: Any) -> float:
    """Seconds that a request may take at the most."""
    attempts = config.retries["total_max_attempts"]
    assert config.retries["mode"] == "standard"
    pauses = sum(min(2**number, 20) for number in range(attempts - 1))
    return float(attempts * max(config.connect_timeout, config.read_timeout) + pauses)


@pytest.mark.parametrize("limit_s", [10, 20, 30, 300, 40_000])
def test_all_attempts_at_one_request_end_within_the_tasks_time(limit_s: int) -> None:
    soft_s = limit_s * SOFT_SHARE
    longest = add_up(root.limit_calls(soft_s))
    assert longest < soft_s
    assert longest <= max(soft_s / 2, 6)
    assert longest <= 33


def test_every_service_that_a_task_asks_is_held_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    class Session:
        def __init__(self, region_name: str) -> None: ...

        def client(self, service: str, config: Config) -> object:
            made[service] = config
            return Mock()

    monkeypatch.setattr(boto3.session, "Session", Session)
    settings = read_settings({**NEEDED, "SLUICE_TASK_LIMIT_S": "20"})
    root.handlers(settings, {}, "us-east-1")()
    assert set(made) == {"dynamodb", "s3", "sqs"}
    assert all(add_up(config) <= 9 for config in made.values())


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_bucket_that_hangs_is_an_outage_before_the_tasks_time_is_over(silent: str) -> None:
    soft_s = 9.0
    limits = root.limit_calls(soft_s)
    make: Any = boto3.client
    client = make("s3", region_name="us-east-1", endpoint_url=silent, config=limits, **KEYS)
    change = Change("INSERT", {"id": {"S": "1"}}, 0, "1", overflow=Overflow("a/key", 1))
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="overflow bucket") as caught:
        Bucket(client, "images").fetch(change)
    assert time.monotonic() - begun < soft_s
    assert not isinstance(caught.value, UnansweredError)
