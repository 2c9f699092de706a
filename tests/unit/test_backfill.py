"""A backfill reads, sends and notes in that order, in flat memory; exports and errors are read."""

import base64
import hashlib
import io
import json
import re
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from rich.console import Console

from console.aws import explain_aws
from console.backfill.bucket import Bucket
from console.backfill.command import close_journal
from console.backfill.export import (
    ExportError,
    check_manifest,
    check_table,
    find_gap,
    read_files,
    read_summary,
)
from console.backfill.run import Backfill, Summary
from console.backfill.source import ScanSource
from console.checkpoint import Journal, Share
from console.errors import InterruptedByUserError, MisuseError
from console.parallel import run_units
from console.persistence import Persistence
from console.progress import Tally, describe_progress, show_progress
from console.scan import TRIES, Meter, TableReader
from console.sending import Depth, Gate, open_outlet, wait_until_empty
from console.session import TableFacts
from producer.contract import decode_chunk
from producer.settings import Settings
from worker.errors import UnavailableError

SETTINGS = Settings("http://sqs/1/queue", "http://sqs/1/dead", "bucket")
PAGE = 500


class GeneratedTable:
    """A table of any size that nobody has to store: DynamoDB's `scan`."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.calls = 0
        self.failures: list[Exception] = []

    def scan(self, **request: Any) -> dict[str, Any]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        segment, segments = request["Segment"], request["TotalSegments"]
        first = (
            int(request["ExclusiveStartKey"]["id"]["S"]) + 1
            if ("ExclusiveStartKey" in request)
            else self.items * segment // segments
        )
        end = self.items * (segment + 1) // segments
        size = min(PAGE, request.get("Limit", PAGE))
        numbers = range(first, min(end, first + size))
        answer: dict[str, Any] = {
            "Items": [{"id": {"S": f"{n:09}"}, "text": {"S": "x" * 200}} for n in numbers],
            "ScannedCount": len(numbers),
            "ConsumedCapacity": {"CapacityUnits": len(numbers) / 10},
        }
        if first + size < end:
            answer["LastEvaluatedKey"] = {"id": {"S": f"{numbers[-1]:09}"}}
        return answer


class CountingQueue:
    """SQS and S3 that count what they take."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.messages = 0
        self.keep = True

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        self.messages += len(Entries)
        if self.keep:
            self.bodies += [entry["MessageBody"] for entry in Entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def put_object(self, **_: Any) -> Any:
        raise AssertionError("nothing here is large")

    def keys(self) -> list[str]:
        payloads = [json.loads(json.loads(body)["body"])[0][0] for body in self.bodies]
        chunks = [decode_chunk(payload) for payload in payloads]
        return [change.key["id"]["S"] for chunk in chunks for change in chunk.changes]


def backfill(
    table: GeneratedTable,
    queue: CountingQueue,
    journal: Journal,
    *,
    rate: float | None = None,
    depth: Callable[[], Depth] = lambda: Depth(0, 0, 0),
) -> Backfill:
    stop = threading.Event()
    client: Any = table
    reader = TableReader(client, "posts", ("id",), Meter(rate, 4), lambda: 5, stop)
    return Backfill(
        "posts",
        ScanSource(reader, "arn", "id", 4, table.items),
        open_outlet(SETTINGS, queue, queue, stop),
        Gate(depth, 10, stop),
        journal,
        Share(),
        stop,
        lambda: 9,
    )


def run(table: GeneratedTable, queue: CountingQueue, store: Any = None) -> Summary:
    return backfill(table, queue, Journal({}, store, lambda: 5, every_s=0)).run()


def test_each_item_is_sent_once_and_the_summary_adds_up() -> None:
    table, queue = GeneratedTable(5_003), CountingQueue()
    summary = run(table, queue)
    assert sorted(queue.keys()) == [f"{n:09}" for n in range(5_003)]
    assert summary.read == summary.sent == summary.read_here == 5_003
    assert summary.messages == queue.messages


class MeetingTable(GeneratedTable):
    """A table that answers once so many readers ask at the same time."""

    def __init__(self, items: int, readers: int) -> None:
        super().__init__(items)
        self.meeting = threading.Barrier(readers, timeout=10)
        self.requests: list[dict[str, Any]] = []

    def scan(self, **request: Any) -> dict[str, Any]:
        self.meeting.wait()
        self.requests.append(request)
        return super().scan(**request)


def test_segments_are_read_consistently_and_beside_each_other() -> None:
    table, queue = MeetingTable(4 * 2 * PAGE, readers=4), CountingQueue()
    assert run(table, queue).sent == 4 * 2 * PAGE
    assert len(table.requests) == 8
    assert all(request["ConsistentRead"] for request in table.requests)
    assert {request["Segment"] for request in table.requests[:4]} == {0, 1, 2, 3}


class MemoryStore:
    """A checkpoint in memory, and a kill after so many saves."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.left = 10**9

    def load(self) -> bytes | None:
        return self.content

    def save(self, content: bytes) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.content = content

    def remove(self) -> None:
        self.content = None


@pytest.mark.parametrize("saves", range(1, 14))
def test_stopped_at_any_step_the_next_run_misses_nothing(saves: int) -> None:
    table, queue, store = GeneratedTable(4_100), CountingQueue(), MemoryStore()
    store.left = saves
    with pytest.raises(KeyboardInterrupt):
        run(table, queue, store)
    store.left = 10**9
    assert store.content is not None
    summary = run(table, queue, store)
    assert set(queue.keys()) == {f"{n:09}" for n in range(4_100)}
    assert (summary.read, summary.sent, summary.resumed) == (4_100, 4_100, True)


def test_killed_after_everything_is_sent_the_next_run_sends_nothing_again() -> None:
    table, queue, store = GeneratedTable(1_100), CountingQueue(), MemoryStore()
    run(table, queue, store)
    messages = queue.messages
    summary = run(table, queue, store)
    assert (summary.read, summary.read_here, summary.resumed) == (1_100, 0, True)
    assert queue.messages == messages
    close_journal(Journal({}, store, lambda: 5))
    assert store.content is None


class KeptStore(MemoryStore):
    """A bucket whose policy lets nobody remove an object."""

    def remove(self) -> None:
        raise MisuseError("cannot remove the checkpoint: AccessDenied")


def test_a_checkpoint_that_cannot_be_removed_is_told_and_fails_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = KeptStore()
    journal = Journal({}, store, lambda: 5)
    backfill(GeneratedTable(10), CountingQueue(), journal).run()
    close_journal(journal)
    assert store.content is not None
    told = capsys.readouterr().err
    assert "AccessDenied" in told
    assert "remove it yourself" in told


def test_memory_does_not_grow_with_the_table() -> None:
    def measure(items: int) -> int:
        queue = CountingQueue()
        queue.keep = False
        assert run(GeneratedTable(items), queue).sent == items
        return int(psutil.Process().memory_info().rss)

    measure(20_000)
    before = measure(20_000)
    assert measure(120_000) - before < 24 * 1024 * 1024


def error(code: str, status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "words"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Scan")


def test_throttling_and_faults_are_waited_out_and_counted() -> None:
    table, queue = GeneratedTable(100), CountingQueue()
    table.failures = [
        error("ProvisionedThroughputExceededException"),
        error("InternalServerError", 500),
        EndpointConnectionError(endpoint_url="http://x"),
    ]
    journal = Journal({}, None, lambda: 5)
    job = backfill(table, queue, journal)
    source = job.source
    assert isinstance(source, ScanSource)
    assert job.run(lambda: (source.reader.meter.units, source.reader.meter.throttled)).read == 100
    assert source.reader.meter.throttled == 1
    assert source.reader.meter.units == pytest.approx(10)


def test_what_asking_again_cannot_mend_ends_at_once() -> None:
    table, queue = GeneratedTable(100), CountingQueue()
    table.failures = [error("AccessDeniedException")] * TRIES
    with pytest.raises(MisuseError, match="check the AWS credentials"):
        run(table, queue)
    assert table.calls <= 4


def test_the_rate_is_kept() -> None:
    table, queue = GeneratedTable(200), CountingQueue()
    summary = backfill(table, queue, Journal({}, None, lambda: 5), rate=10).run()
    assert summary.read == 200
    assert summary.seconds > 0.6  # 20 units, of which one second's worth was saved up


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (NoCredentialsError(), MisuseError, "no AWS credentials"),
        (error("UnrecognizedClientException"), MisuseError, "check the AWS credentials"),
        (error("ExpiredTokenException"), MisuseError, "check the AWS credentials"),
        (error("ResourceNotFoundException"), MisuseError, "AWS_REGION"),
        (error("ValidationException"), MisuseError, "ValidationException"),
        (error("InternalServerError", 500), UnavailableError, "InternalServerError"),
        (EndpointConnectionError(endpoint_url="http://x"), UnavailableError, "http://x"),
        (EndpointConnectionError(endpoint_url="http://x"), UnavailableError, "AWS_ENDPOINT_URL"),
        (ReadTimeoutError(endpoint_url="http://x"), UnavailableError, "AWS_ENDPOINT_URL"),
    ],
)
def test_errors_of_aws_are_named_by_what_happens_next(
    given: Exception, kind: type[Exception], words: str
) -> None:
    explained = explain_aws(given, "cannot read")
    assert type(explained) is kind
    assert words in str(explained)


def test_a_gate_lets_through_again_at_half_the_limit() -> None:
    depths = iter([11, 9, 6, 5, 0])
    gate = Gate(lambda: Depth(next(depths), 0, 0), 10, threading.Event())
    gate.wait()
    assert next(depths) == 0
    assert gate.yielded_s > 0
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(InterruptedByUserError):
        Gate(lambda: Depth(11, 0, 0), 10, stopped).wait()


def test_a_queue_counts_as_empty_after_several_looks_in_a_row() -> None:
    depths = iter([1, 0, 0, 1, 0, 0, 0, 5])

    def look() -> Depth:
        return Depth(next(depths), 0, 0)

    assert wait_until_empty(look, threading.Event(), patience_s=60, every_s=0)
    assert next(depths) == 5
    full = Depth(0, 1, 0)
    assert not wait_until_empty(lambda: full, threading.Event(), patience_s=0, every_s=0)


def test_the_first_error_ends_the_others_and_is_the_one_that_is_told() -> None:
    stop = threading.Event()

    def work(unit: str) -> None:
        if unit == "bad":
            raise UnavailableError("why")
        if stop.wait(20):
            raise InterruptedByUserError("interrupted")

    with pytest.raises(UnavailableError, match="why"):
        run_units(["a", "b", "bad"], work, stop)
    with pytest.raises(InterruptedByUserError):
        run_units(["a"], work, stop)


def test_progress_tells_rate_and_time_left() -> None:
    assert describe_progress("b", 50, 200, 10) == "b: 50 of about 200, 10/s, 15 s left"
    assert describe_progress("b", 50, 0, 10) == "b: 50, 10/s"


def test_what_an_earlier_run_did_is_done_but_says_nothing_of_the_rate() -> None:
    moments = iter([0.0, 4.0, 10.0, 34.0])
    tally = Tally(lambda: next(moments))
    assert tally.add(0, earlier=True) == (0, 0)
    assert tally.add(500_000, earlier=True) == (500_000, 0)
    assert tally.add(300, earlier=False) == (500_300, 50)
    assert tally.add(600, earlier=False) == (500_900, 30)


def test_a_resumed_run_tells_its_watcher_what_was_done_before() -> None:
    told: list[tuple[int, bool]] = []

    def watch(count: int, *, earlier: bool = False) -> None:
        told.append((count, earlier))

    table, queue, store = GeneratedTable(2_000), CountingQueue(), MemoryStore()
    store.left = 2
    with pytest.raises(KeyboardInterrupt):
        run(table, queue, store)
    store.left = 10**9
    job = backfill(table, queue, Journal({}, store, lambda: 5, every_s=0))
    job.advance = watch
    summary = job.run()
    assert told[0] == (2_000 - summary.read_here, True)
    assert told[0][0] > 0
    assert sum(count for count, earlier in told if not earlier) == summary.read_here


def test_a_bar_takes_its_time_left_from_this_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr("console.progress.make_console", lambda stderr: terminal)
    with show_progress("b", 1_000_000) as advance:
        advance(500_000, earlier=True)
        advance(1)
    shown = screen.getvalue()
    assert "500001/1000000" in shown
    rates = {int(r.replace(",", "")) for r in re.findall(r"([\d,]+)/s", shown)}
    assert rates
    assert max(rates) <= 1_000  # one item, in a millisecond at least


SUMMARY = {
    "exportArn": "arn:aws:dynamodb:eu-west-1:1:table/posts/export/01",
    "tableArn": "arn:aws:dynamodb:eu-west-1:1:table/posts",
    "tableId": "id",
    "exportTime": "2020-11-04T07:28:34.028Z",
    "itemCount": 8,
    "outputFormat": "DYNAMODB_JSON",
}
FACTS = TableFacts(SUMMARY["tableArn"], "id", ("id",), 8, None, "", None, False, None, None)  # type: ignore[arg-type]


def test_an_export_says_what_it_is_of_and_when() -> None:
    manifest = read_summary(json.dumps(SUMMARY).encode())
    assert manifest.read_ms == 1_604_474_914_028
    check_table(manifest, FACTS)
    line = {
        "itemCount": 8,
        "md5Checksum": base64.b64encode(b"0" * 16).decode(),
        "dataFileS3Key": "somewhere/else/data/x.json.gz",
    }
    (file,) = read_files(json.dumps(line).encode() + b"\n\n", "folder")
    assert (file.key, file.items, file.md5) == ("folder/data/x.json.gz", 8, b"0" * 16)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tableId": "older"}, "earlier table"),
        ({"tableArn": "arn:aws:dynamodb:eu-west-1:1:table/other"}, "not of"),
        ({"exportType": "INCREMENTAL_EXPORT"}, "full export"),
        ({"outputFormat": "ION"}, "DYNAMODB_JSON"),
        ({"exportTime": "yesterday"}, "lacks a field"),
        ({"itemCount": None}, "lacks a field"),
    ],
)
def test_an_export_that_will_not_do_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        check_table(read_summary(json.dumps(SUMMARY | changed).encode()), FACTS)


def test_a_manifest_that_its_checksum_is_not_of_is_damaged() -> None:
    content = json.dumps(SUMMARY).encode()
    md5 = hashlib.md5(content, usedforsecurity=False)
    check_manifest("manifest-summary", content, base64.b64encode(md5.digest()))
    check_manifest("manifest-summary", content, md5.hexdigest().encode() + b"\n")
    with pytest.raises(ExportError, match=r"manifest-summary\.json is damaged"):
        check_manifest("manifest-summary", content + b" ", base64.b64encode(md5.digest()))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (None, "no stream"),
        ("2020-11-04T07:28:34.029", "older than the stream"),
        ("2020-11-04T07:28:34.028", ""),
        ("2020-11-01T00:00:00.000", ""),
    ],
)
def test_changes_between_an_export_and_the_stream_are_missed(label: str | None, words: str) -> None:
    gap = find_gap(read_summary(json.dumps(SUMMARY).encode()), label)
    assert words in gap
    assert bool(gap) == bool(words)


class BreakingBucket:
    """S3 whose answers break off after three bytes, as often as it is told."""

    def __init__(self, content: bytes, breaks: int) -> None:
        self.content, self.breaks = content, breaks

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key == "absent":
            raise error("NoSuchKey", 404)
        self.breaks -= 1
        return {"Body": BrokenBody(self.content) if self.breaks >= 0 else io.BytesIO(self.content)}


class BrokenBody(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise ResponseStreamingError(error="reset")
        return super().read(3)


def test_a_file_of_an_export_that_breaks_off_is_fetched_again_from_its_beginning() -> None:
    client: Any = BreakingBucket(b"content", breaks=3)
    bucket = Bucket(client, "b", Persistence(wait=lambda seconds: False))
    assert bucket.find("absent") is None
    with tempfile.TemporaryFile() as copy:
        md5 = bucket.copy("key", copy)
        assert copy.read() == b"content"
    assert md5 == hashlib.md5(b"content", usedforsecurity=False).digest()
    assert client.breaks == -1


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"{}"])
def test_a_manifest_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ExportError):
        read_summary(content)
