"""A host whose clock is wrong sends no reads: their time would be wrong, and undo newer changes."""

import json
import threading
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.backfill.run import Backfill
from console.backfill.source import ScanSource
from console.checkpoint import FileStore, Journal, Share
from console.clocks import DATE_MS, check_clock, measure_ahead
from console.errors import MisuseError
from console.scan import Meter, TableReader
from console.sending import Depth, Gate, open_outlet
from console.session import Session, TableFacts
from producer.settings import Settings
from tests.fakes import FakeSQS
from worker.clock import read_clock_ms
from worker.tables import Table

NOW_MS = 1_700_000_000_000


@given(
    st.integers(NOW_MS, NOW_MS + 10**6),
    st.integers(0, 60_000),
    st.integers(-(10**6), 10**6),
    st.floats(0, 1),
)
def test_it_is_never_said_to_be_further_off_than_it_is(
    asked_ms: int, took_ms: int, ahead_ms: int, share: float
) -> None:
    server_ms = asked_ms + int(took_ms * share)
    date = formatdate(server_ms // 1_000, usegmt=True)
    said = measure_ahead(date, asked_ms + ahead_ms, asked_ms + took_ms + ahead_ms)
    assert min(0, ahead_ms) <= said <= max(0, ahead_ms)
    assert abs(said - ahead_ms) <= took_ms + DATE_MS


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_date_nothing_is_said(date: str) -> None:
    assert measure_ahead(date, 5, 6) == 0


@pytest.mark.parametrize(("ahead_ms", "words"), [(30_001, "30 s ahead"), (-90_000, "90 s behind")])
def test_a_clock_beyond_half_the_margin_is_refused(ahead_ms: int, words: str) -> None:
    check_clock(30_000, 60)
    check_clock(-30_000, 60)
    with pytest.raises(MisuseError, match=f"{words}.*NTP"):
        check_clock(ahead_ms, 60)


class Described:
    """DynamoDB with a clock of its own."""

    def __init__(self, at_ms: int) -> None:
        self.date = formatdate(at_ms // 1_000, usegmt=True)

    def describe_table(self, **_: Any) -> dict[str, Any]:
        table = {"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}
        return {"Table": table, "ResponseMetadata": {"HTTPHeaders": {"date": self.date}}}


class Pair:
    """The two queues of the settings, the one the dead letters of the other."""

    def get_queue_attributes(self, **asked: Any) -> Any:
        policy = json.dumps({"deadLetterTargetArn": "arn:d", "maxReceiveCount": 5})
        of_queue = {"QueueArn": "arn:q", "RedrivePolicy": policy}
        queue = asked["QueueUrl"].endswith("/q")
        return {
            "Attributes": of_queue if queue else {"QueueArn": "arn:d"},
            "ResponseMetadata": {"HTTPHeaders": {}},
        }


ENVIRONMENT = {
    "SLUICE_QUEUE_URL": "http://sqs.invalid/1/q",
    "SLUICE_DEAD_LETTER_URL": "http://sqs.invalid/1/d",
    "SLUICE_OVERFLOW_BUCKET": "bucket",
    "SLUICE_ELASTICSEARCH_URL": "http://search.invalid",
    "SLUICE_TABLES": "examples.posts.tables",
}


@pytest.mark.parametrize(("ahead_s", "ends"), [(0, False), (25, False), (40, True), (-40, True)])
def test_there_is_no_way_into_the_queue_for_reads_with_a_wrong_time(
    ahead_s: int, ends: bool
) -> None:
    session = Session(ENVIRONMENT)
    # What is made when first asked for, asked for already.
    made: dict[str, Any] = {"dynamodb": Described(read_clock_ms() - ahead_s * 1_000)}
    vars(session).update({**made, "sqs": Pair(), "s3": None})
    session.describe(Table("posts"))
    if ends:
        with pytest.raises(MisuseError, match="SLUICE_CLOCK_MARGIN_S"):
            _ = session.outlet
    else:
        assert session.outlet


PAGE = 10
PAGES = 12


@dataclass
class Hosts:
    """A table and this host, each with a clock; each answer takes a second."""

    now_ms: int = NOW_MS
    ahead_ms: int = 0
    jump_at: int = 0
    """In the middle of this page our clock jumps …"""
    jump_ms: int = 0
    """… by so much."""
    asked: int = 0

    def clock_ms(self) -> int:
        return self.now_ms + self.ahead_ms

    def scan(self, **request: Any) -> dict[str, Any]:
        self._answer()
        first = int(request.get("ExclusiveStartKey", {"id": {"S": "-1"}})["id"]["S"]) + 1
        items = [{"id": {"S": f"{n}"}, "at": {"N": f"{self.now_ms}"}} for n in self._page(first)]
        more = {"LastEvaluatedKey": {"id": items[-1]["id"]}} if first < PAGE * (PAGES - 1) else {}
        return {"Items": items, "ScannedCount": len(items), **more, **self._date()}

    def batch_get_item(self, **_: Any) -> dict[str, Any]:
        self._answer()
        return {"Responses": {}, "UnprocessedKeys": {}, **self._date()}

    def _page(self, first: int) -> range:
        return range(first, first + PAGE)

    def _answer(self) -> None:
        self.asked += 1
        self.now_ms += 500
        if self.asked == self.jump_at:
            self.ahead_ms += self.jump_ms
        self.now_ms += 500

    def _date(self) -> dict[str, Any]:
        date = formatdate(self.now_ms // 1_000, usegmt=True)
        return {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}


SENDING = Settings("http://sqs/1/queue", "http://sqs/1/dead", "bucket")


def backfill(hosts: Hosts, queue: FakeSQS, checkpoint: Path) -> None:
    client: Any = hosts
    sqs: Any = queue
    stop = threading.Event()
    reader = TableReader(client, "posts", ("id",), Meter(None), hosts.clock_ms, stop, margin_s=60)
    Backfill(
        "posts",
        ScanSource(reader, "arn", "id", 1, PAGE * PAGES),
        open_outlet(SENDING, sqs, sqs, stop),
        Gate(lambda: Depth(0, 0, 0), 10, stop),
        Journal({}, FileStore(checkpoint), hosts.clock_ms, every_s=0),
        Share(),
        stop,
        hosts.clock_ms,
    ).run()


@pytest.mark.parametrize("jump_s", [-3_600, -34, 34, 40, 3_600])
@pytest.mark.parametrize("jump_at", [1, 5, PAGES])
def test_a_clock_that_jumps_in_the_middle_ends_a_backfill_before_a_wrong_time_is_sent(
    jump_at: int, jump_s: int, tmp_path: Path
) -> None:
    hosts, queue = Hosts(jump_at=jump_at, jump_ms=jump_s * 1_000), FakeSQS()
    # What was read as the clock jumped has its R of before; so the last page may end well.
    if jump_s > 0 and jump_at == PAGES:
        backfill(hosts, queue, tmp_path / "checkpoint")
    else:
        with pytest.raises(MisuseError, match="SLUICE_CLOCK_MARGIN_S"):
            backfill(hosts, queue, tmp_path / "checkpoint")
        assert len(queue.changes(SENDING.queue_url)) < PAGE * PAGES
        hosts.ahead_ms = 0
        backfill(hosts, queue, tmp_path / "checkpoint")
    changes = queue.changes(SENDING.queue_url)
    assert sorted(int(one.key["id"]["S"]) for one in changes) == list(range(PAGE * PAGES))
    for change in changes:
        assert change.new is not None
        # R is at most a second before the read, the time that the answer took.
        assert 0 <= int(change.new["at"]["N"]) - change.at <= 1_000


@pytest.mark.parametrize("ahead_s", [-40, 40])
def test_every_reader_of_a_command_compares_its_clock(ahead_s: int) -> None:
    session = Session(ENVIRONMENT)
    hosts = Hosts(now_ms=read_clock_ms() - ahead_s * 1_000)
    vars(session)["dynamodb"] = hosts
    facts = TableFacts("arn", "id", ("id",), 0, None, "", None, False, None, None)
    reader = session.reader(Table("posts"), facts, Meter(None))
    with pytest.raises(MisuseError, match="SLUICE_CLOCK_MARGIN_S"):
        reader.scan(0, 1, None)
    with pytest.raises(MisuseError, match="SLUICE_CLOCK_MARGIN_S"):
        reader.read([{"id": {"S": "a"}}])


def test_a_clock_that_was_ahead_and_is_set_before_the_call_gives_the_time_of_the_call() -> None:
    hosts = Hosts(ahead_ms=3_600_000)
    times = [hosts.now_ms + 3_600_000]
    client: Any = hosts
    reader = TableReader(
        client,
        "posts",
        ("id",),
        Meter(None),
        lambda: times.pop() if times else hosts.now_ms,
        margin_s=60,
    )
    _, read_ms = reader.read([{"id": {"S": "a"}}])
    assert read_ms == NOW_MS
