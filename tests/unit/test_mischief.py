"""The faults of a chaos run are a matter of its seed, whatever the pipeline does meanwhile."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from producer.contract import ContractError, decode_chunk
from tests.chaos.mischief import Mischief, write_malformed
from tests.faults.proxy import Fault
from worker.cluster import Answer
from worker.incoming import Undecodable, read_body
from worker.tables import Table

NOBODY = 2**22 + 1
"""No process has this number (Linux: PID_MAX_LIMIT)."""
STEPS = 300
TABLE: Table[Any] = Table("posts")


class Idle:
    """Proxy, cluster, queue and workers of a pipeline that is not there."""

    def __init__(self) -> None:
        self.pid, self.faults = NOBODY, list[Fault]()
        self.client, self.url = self, "queue"
        self.running = [self, self]

    @contextlib.contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        self.faults.append(fault)
        yield

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        yield

    def request(self, *_: object, **__: object) -> Answer:
        return Answer(200, {})

    def nothing(self, *_: object, **__: object) -> None:
        pass

    def are_ready(self) -> bool:
        return True

    flap = kill = start = drop = terminate = send_message = poll = nothing


class Watched(Mischief):
    """Its commands find nothing."""

    def _command(self, name: str, *arguments: str) -> Any:
        return {"groups": []}


def play(seed: int, bodies: list[str]) -> tuple[list[str], list[Fault]]:
    """What is logged, and which faults the proxies are told, in so many steps."""
    stop, logged, idle = threading.Event(), list[str](), cast("Any", Idle())
    stop.set()  # nothing waits
    mischief = Watched(
        seed, idle, idle, idle, idle, TABLE, idle, idle, {}, bodies, stop, log=logged.append
    )
    for _ in range(STEPS):
        mischief.act()
    return logged, idle.faults


def test_a_seed_replays_its_faults_however_many_messages_there_were() -> None:
    logged, faults = play(7, ["a"] * 3)
    assert play(7, ["b"] * 500) == (logged, faults)
    assert len(set(logged)) >= 23
    assert play(8, ["a"] * 3)[0] != logged


def test_no_malformed_message_can_be_applied_and_each_leads_to_its_mark() -> None:
    for body in write_malformed("0123abcd"):
        assert "0123abcd" in body
        call = read_body(body)
        if isinstance(call, Undecodable):
            assert call.body == body
        else:
            assert call.id == "0123abcd"
            with pytest.raises(ContractError):
                decode_chunk(call.payload)
