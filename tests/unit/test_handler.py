"""From event to answer: what is sent where, what is tried again, and what Lambda is told."""

import io
import json
from collections import deque
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.aws import ILLEGAL, client_error
from producer.batch import lowest_failed
from producer.contract import (
    AT_ATTRIBUTE,
    CHANGES_TASK,
    ERROR_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    REASON_ATTRIBUTE,
    REASON_BYTES,
    RECORD_TASK,
    TABLE_ATTRIBUTE,
    inflate,
    read_images,
    write_attributes,
)
from producer.errors import ConfigurationError, MalformedEventError, UndeliverableError
from producer.forward import Producer
from producer.logs import log_to
from producer.message import Message, count_bytes, group_messages
from producer.metrics import METRICS
from producer.sender import MARGIN_MS, Sender
from producer.settings import Settings
from tests.fakes import (
    ARN,
    FakeS3,
    FakeSQS,
    Invocation,
    make_record,
    noise,
    refuse,
    sequence,
)

EVENTS = Path(__file__).parent.parent / "events"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/changes"
DEAD = QUEUE + "-dead"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
THROTTLED = client_error("ThrottlingException", 400)
DENIED = client_error("AccessDenied", 403)
AWAY = client_error("ServiceUnavailable", 503)
UNREACHABLE = EndpointConnectionError(endpoint_url="https://sqs")
HANGING = ReadTimeoutError(endpoint_url="https://sqs")
POISON = make_record(0, NewImage={"id": {"X": "secret"}})


class Bench:
    """The function on fakes."""

    def __init__(self, **options: Any) -> None:
        self.settings = Settings(QUEUE, DEAD, "overflow", **options)
        self.sqs, self.s3, self.invocation = FakeSQS(), FakeS3(), Invocation()
        self.output = io.StringIO()

    def run(self, *records: object) -> list[str]:
        """The sequence numbers that the answer reports."""
        return self.run_event({"Records": list(records)})

    def run_event(self, event: object) -> list[str]:
        sender = Sender(
            queues=self.sqs,
            bucket=self.s3,
            bucket_name=self.settings.overflow_bucket,
            batch_bytes=self.settings.batch_bytes,
            sleep=self.invocation.sleep,
            chance=lambda: 1.0,
        )
        logger = log_to(self.settings.log_level, self.output)
        answer = Producer(self.settings, sender, logger, lambda: NOW).forward(
            event, self.invocation
        )
        assert set(answer) == {"batchItemFailures"}
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    @property
    def forwarded(self) -> list[int]:
        """Numbers of the records whose changes reached the queue."""
        chunks = self.sqs.chunks(QUEUE)
        return [int(str(c.sequence)) - 10**24 for chunk in chunks for c in chunk.changes]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.getvalue().splitlines()]


def big_record(number: int) -> dict[str, Any]:
    """Two of these fill more than the smallest message."""
    key = {"S": str(number)}
    return make_record(number, NewImage={"id": key, "noise": {"B": noise(number, 12_000)}})


def oversize_record(number: int) -> dict[str, Any]:
    """Too large for the smallest message."""
    image = {"id": {"S": str(number)}, "noise": {"B": noise(number, 90_000)}}
    return make_record(number, NewImage=image)


def small_messages(**options: Any) -> Bench:
    """A message of its own for each `big_record`."""
    return Bench(message_bytes=32_768, chunk_bytes=32_768, **options)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_all_records_of_a_shard_travel_in_one_message_in_their_order(bench: Bench) -> None:
    assert bench.run(*(make_record(n) for n in range(100))) == []
    (message,) = bench.sqs.sent
    assert (message.url, message.task, message.attributes) == (QUEUE, CHANGES_TASK, {})
    assert (message.chunk.table, message.chunk.stream) == ("posts-a.b", ARN)
    assert bench.forwarded == list(range(100))


def test_an_empty_event_sends_nothing(bench: Bench) -> None:
    assert bench.run() == []
    assert bench.sqs.calls == []


def test_a_batch_that_mixes_tables_becomes_a_message_for_each(bench: Bench) -> None:
    event = json.loads((EVENTS / "partitions_and_tables.json").read_text())
    assert bench.run_event(event) == []
    tables = [chunk.table for chunk in bench.sqs.chunks(QUEUE)]
    assert tables == ["prod-Card", "a.b.c", "_posts_", "posts"]


@pytest.mark.parametrize("name", ["insert_modify_remove", "every_type", "time_to_live"])
@pytest.mark.parametrize("old_images", [False, True])
def test_events_as_aws_sends_them_are_forwarded_whole(name: str, old_images: bool) -> None:
    bench = Bench(old_images=old_images)
    event = json.loads((EVENTS / f"{name}.json").read_text())
    assert bench.run_event(event) == []
    (chunk,) = bench.sqs.chunks(QUEUE)
    bodies = [record["dynamodb"] for record in event["Records"]]
    assert [change.new for change in chunk.changes] == [body.get("NewImage") for body in bodies]
    expected = [body.get("OldImage") if old_images else None for body in bodies]
    assert [change.old for change in chunk.changes] == expected


@pytest.mark.parametrize("name", ["keys_only", "old_image"])
def test_a_stream_without_new_images_fails_the_invocation_and_sends_nothing(name: str) -> None:
    bench = Bench()
    event = json.loads((EVENTS / f"{name}.json").read_text())
    with pytest.raises(ConfigurationError, match="UpdateTable"):
        bench.run_event({"Records": [make_record(1), POISON, *event["Records"]]})
    assert bench.sqs.calls == []


@pytest.mark.parametrize("event", [None, [], {}, {"Records": None}, {"Records": {}}, "x"])
def test_what_is_no_event_of_a_stream_fails_the_invocation(bench: Bench, event: object) -> None:
    with pytest.raises(MalformedEventError, match="event source mapping"):
        bench.run_event(event)


# Records that cannot be read


def test_an_unreadable_record_is_dead_lettered_as_it_is_and_the_others_go_on(bench: Bench) -> None:
    assert bench.run(make_record(1), POISON, make_record(2)) == []
    assert bench.forwarded == [1, 2]
    first, letter = bench.sqs.sent
    assert (first.url, letter.url) == (QUEUE, DEAD)
    assert letter.task == RECORD_TASK
    assert letter.record == POISON
    assert letter.attributes == {
        ERROR_ATTRIBUTE: "UnreadableRecord",
        REASON_ATTRIBUTE: "NewImage, attribute 'id': unknown type 'X'",
        TABLE_ATTRIBUTE: "posts-a.b",
        ORIGIN_ATTRIBUTE: "producer",
        AT_ATTRIBUTE: "2026-01-02T03:04:05.678+00:00",
    }
    envelope = json.loads(letter.body)
    assert envelope["properties"]["delivery_info"]["routing_key"] == "changes"


@pytest.mark.parametrize(
    "record",
    [
        None,
        5,
        "text",
        [],
        {},
        {"eventSource": "aws:kinesis", "kinesis": {"data": "AAEC"}},
        make_record(1, SequenceNumber=None),
        make_record(1, NewImage={"\ud800": {"S": "\ud800"}}),
        make_record(1, NewImage={"a\x00\ufffe": {"X": ""}}),
    ],
)
def test_whatever_stands_in_a_record_reaches_the_dead_letter_queue(
    bench: Bench, record: object
) -> None:
    assert bench.run(record, make_record(2)) == []
    letter = bench.sqs.sent[0]
    assert (letter.url, letter.record) == (DEAD, record)
    assert bench.forwarded == [2]


def test_an_unreadable_record_too_large_for_a_message_is_set_aside() -> None:
    bench = small_messages()
    record = make_record(1, NewImage={"id": {"X": noise(1, 90_000)}})
    assert bench.run(record) == []
    ((key, content),) = bench.s3.objects.items()
    assert key.startswith("unreadable/")
    assert json.loads(inflate(content)) == record
    size = len(inflate(content))
    assert bench.sqs.sent[0].record == {"overflow": {"key": key, "bytes": size}}
    assert bench.run(record) == []
    assert len(bench.s3.objects) == 1


def test_if_the_dead_letter_queue_is_away_its_record_is_the_failed_one(bench: Bench) -> None:
    bench.sqs.always[DEAD] = DENIED
    poison = make_record(5, NewImage={"id": {"X": ""}})
    assert bench.run(make_record(4), poison, make_record(6)) == [sequence(5)]
    assert 4 in bench.forwarded


def test_a_record_without_a_number_that_cannot_be_dead_lettered_fails_the_invocation(
    bench: Bench,
) -> None:
    bench.sqs.always[DEAD] = DENIED
    with pytest.raises(UndeliverableError, match="record 1 "):
        bench.run(make_record(4), {}, make_record(6))
    assert bench.lines[0]["codes"] == {"AccessDenied": 1}


def test_a_record_without_a_number_comes_again_behind_one_that_failed_before_it(
    bench: Bench,
) -> None:
    bench.sqs.always = {DEAD: DENIED, QUEUE: DENIED}
    assert bench.run(make_record(4), {}) == [sequence(4)]


# Partial failure


def run_until_settled(bench: Bench, numbers: range) -> list[int]:
    """Deliver as Lambda does: again from the reported number on, until nothing is reported."""
    rest = list(numbers)
    for _ in range(50):
        failed = bench.run(*(big_record(number) for number in rest))
        if not failed:
            return bench.forwarded
        rest = rest[rest.index(int(failed[0]) - 10**24) :]
    raise AssertionError("never settled")


def test_only_the_refused_entries_are_sent_again() -> None:
    bench = small_messages()
    bench.sqs.faults.append(refuse(1, 3))
    assert bench.run(*(big_record(n) for n in range(5))) == []
    assert bench.sqs.calls == [5, 2]
    assert bench.forwarded == [0, 2, 4, 1, 3]


@pytest.mark.parametrize("fault", [THROTTLED, AWAY, UNREACHABLE, HANGING])
def test_what_may_pass_is_tried_again_with_growing_pauses(bench: Bench, fault: Exception) -> None:
    bench.sqs.faults.extend([fault] * 4)
    assert bench.run(make_record(1)) == []
    assert bench.forwarded == [1]
    assert bench.invocation.slept_ms == [100, 200, 400, 800]


def test_a_throttled_entry_is_tried_again_though_its_sender_is_blamed(bench: Bench) -> None:
    code = "AWS.SimpleQueueService.RequestThrottled"
    bench.sqs.faults.append(refuse(0, code=code, sender=True))
    assert bench.run(make_record(1)) == []
    assert bench.sqs.calls == [1, 1]


def test_an_entry_that_the_answer_forgets_is_sent_again(bench: Bench) -> None:
    answers: deque[dict[str, Any]] = deque([{"Successful": []}, {"Successful": [{"Id": "0"}]}])

    class Forgetful(FakeSQS):
        def send_message_batch(self, **_: Any) -> dict[str, Any]:
            return answers.popleft()

    bench.sqs = Forgetful()
    assert bench.run(make_record(1)) == []
    assert not answers


def test_an_outage_uses_the_time_there_is_and_keeps_a_margin(bench: Bench) -> None:
    bench.sqs.always[QUEUE] = AWAY
    assert bench.run(make_record(7), make_record(8)) == [sequence(7)]
    assert MARGIN_MS <= bench.invocation.remaining_ms < MARGIN_MS + 5_000
    assert max(bench.invocation.slept_ms) == 5_000


def test_a_short_invocation_still_makes_its_first_call() -> None:
    bench = small_messages()
    bench.invocation.remaining_ms = 1_000
    assert bench.run(*(big_record(n) for n in range(25))) == [sequence(10)]
    assert bench.sqs.calls == [10]
    assert bench.lines[0]["codes"] == {"OutOfTime": 10, "BehindFailure": 5}


def test_a_short_invocation_still_brings_one_oversize_message_to_the_queue() -> None:
    bench = small_messages()
    bench.invocation.remaining_ms = 1_000
    # Two messages: a claim check is small and travels beside a big record.
    records = [oversize_record(0), big_record(1), big_record(2), oversize_record(3)]
    assert bench.run(*records) == [sequence(2)]
    assert (bench.s3.puts, bench.sqs.calls, bench.forwarded) == (1, [1], [0, 1])
    assert bench.run(*records[2:]) == []
    assert (bench.s3.puts, bench.sqs.calls, bench.forwarded) == (2, [1, 1], [0, 1, 2, 3])


def test_a_short_invocation_does_not_wait_for_a_bucket_that_is_away() -> None:
    bench = small_messages()
    bench.invocation.remaining_ms = 1_000
    bench.s3.faults.append(AWAY)
    assert bench.run(oversize_record(0), big_record(1)) == [sequence(0)]
    assert (bench.s3.puts, bench.sqs.calls, bench.invocation.slept_ms) == (1, [], [])


@pytest.mark.parametrize("fault", [DENIED, refuse(0, code="InvalidMessageContents", sender=True)])
def test_what_cannot_pass_is_not_tried_again(bench: Bench, fault: Any) -> None:
    bench.sqs.faults.append(fault)
    assert bench.run(make_record(7)) == [sequence(7)]
    assert (bench.sqs.calls, bench.invocation.slept_ms) == ([1], [])


def test_the_lowest_failed_number_is_answered_and_nothing_behind_it_is_sent_later() -> None:
    bench = small_messages()
    bench.sqs.faults.append(refuse(7, 3, code="InvalidMessageContents", sender=True))
    assert bench.run(*(big_record(n) for n in range(25))) == [sequence(3)]
    assert bench.sqs.calls == [10]
    assert bench.lines[0]["codes"] == {"InvalidMessageContents": 2, "BehindFailure": 15}


def test_what_lies_before_a_failure_in_another_queue_is_still_sent() -> None:
    bench = small_messages()
    bench.sqs.faults.append(refuse(1, code="InvalidMessageContents", sender=True))
    poison = [make_record(n, NewImage={"id": {"X": ""}}) for n in (0, 5)]
    records = [poison[0], *(big_record(n) for n in range(1, 5)), poison[1], big_record(6)]
    assert bench.run(*records) == [sequence(5)]
    assert bench.forwarded == [1, 2, 3, 4]


def test_a_client_that_cannot_work_at_all_fails_the_invocation(bench: Bench) -> None:
    bench.sqs.always[QUEUE] = NoCredentialsError()
    with pytest.raises(NoCredentialsError):
        bench.run(make_record(1))


faults = st.one_of(
    st.sampled_from([THROTTLED, AWAY, UNREACHABLE, HANGING, DENIED]),
    st.builds(refuse, st.just(0)),
    st.builds(lambda: refuse(0, code="InvalidMessageContents", sender=True)),
)


@settings(max_examples=40)
@given(st.lists(faults, max_size=8), st.sampled_from([1_000, 9_000, 60_000]))
def test_delivered_again_as_lambda_does_no_record_is_ever_lost(
    trouble: list[Any], remaining: int
) -> None:
    bench = small_messages()
    bench.invocation.remaining_ms = remaining
    bench.sqs.faults.extend(trouble)
    bench.s3.faults.extend([AWAY, DENIED])
    assert set(run_until_settled(bench, range(14))) == set(range(14))


# The bucket


def test_images_are_stored_before_the_message_that_names_them(bench: Bench) -> None:
    record = make_record(1, NewImage={"id": {"S": "1"}, "n": {"B": noise(1, 300_000)}})
    bench.sqs.always[QUEUE] = DENIED
    assert bench.run(record) == [sequence(1)]
    assert len(bench.s3.objects) == 1
    del bench.sqs.always[QUEUE]
    assert bench.run(record) == []
    ((change,),) = [chunk.changes for chunk in bench.sqs.chunks(QUEUE)]
    assert change.overflow is not None
    whole = read_images(change, bench.s3.objects[change.overflow.key])
    assert whole.new == record["dynamodb"]["NewImage"]
    assert len(bench.s3.objects) == 1


@pytest.mark.parametrize(("fault", "failed"), [(AWAY, []), (DENIED, [sequence(1)])])
def test_a_failure_of_the_bucket_is_a_failure_of_its_change(
    fault: Exception, failed: list[str]
) -> None:
    bench = small_messages()
    bench.s3.faults.append(fault)
    large = make_record(1, NewImage={"id": {"S": "1"}, "n": {"B": noise(1, 90_000)}})
    records = [large, *(big_record(n) for n in range(2, 5))]
    assert bench.run(*records) == failed
    assert (1 in bench.forwarded) is not bool(failed)


# Limits on the wire


@pytest.mark.parametrize("batch_bytes", [262_144, 1_048_576])
def test_no_batch_call_is_over_its_limit_though_each_message_is_legal(batch_bytes: int) -> None:
    bench = Bench(batch_bytes=batch_bytes)
    bench.sqs.most_bytes = batch_bytes
    records = [make_record(n, NewImage={"b": {"B": noise(n, 60_000)}}) for n in range(40)]
    poison = [make_record(n, NewImage={"b": {"X": noise(n, 60_000)}}) for n in range(40, 50)]
    assert bench.run(*records, *poison) == []
    assert max(bench.sqs.call_bytes) > batch_bytes / 2
    assert {message.url for message in bench.sqs.sent} == {QUEUE, DEAD}


messages = st.lists(
    st.builds(
        Message,
        url=st.sampled_from([QUEUE, DEAD]),
        body=st.text("aé€𝄞", min_size=1, max_size=60),
        places=st.just((0,)),
        attributes=st.builds(write_attributes, reason=st.text("aé", max_size=9)),
    ),
    max_size=40,
)


@given(messages, st.integers(300, 900))
def test_batches_hold_every_message_once_in_order_and_are_full(
    given_messages: list[Message], most: int
) -> None:
    batches = group_messages(given_messages, most)
    for url in (QUEUE, DEAD):
        of_url = [batch for batch in batches if batch[0].url == url]
        assert [m for batch in of_url for m in batch] == [m for m in given_messages if m.url == url]
        for batch, after in pairwise(of_url):
            full = sum(map(count_bytes, batch)) + count_bytes(after[0]) > most
            assert full or len(batch) == 10
    for batch in batches:
        assert 1 <= len(batch) <= 10
        assert sum(map(count_bytes, batch)) <= most


def test_bytes_are_counted_as_sqs_counts_them() -> None:
    message = Message(QUEUE, "é€", (0,), write_attributes(table="é"))
    assert count_bytes(message) == len("é€".encode()) + len("sluice-table" + "String") + 2


@given(st.text(st.characters(), max_size=60), st.sampled_from([1, 100]))
def test_an_attribute_is_always_text_that_sqs_takes(text: str, times: int) -> None:
    for attribute in write_attributes(reason=text * times).values():
        value = attribute["StringValue"]
        assert value
        assert len(value.encode()) <= REASON_BYTES
        assert not ILLEGAL.search(value)


def test_a_table_that_cannot_be_told_is_left_out(bench: Bench) -> None:
    record = make_record(1) | {"eventSourceARN": "é" * 9_000}
    bench.run(record)
    (letter,) = bench.sqs.sent
    assert len(letter.attributes[REASON_ATTRIBUTE].encode()) <= REASON_BYTES
    assert TABLE_ATTRIBUTE not in letter.attributes


# Which number is answered

OTHER = ARN.replace("posts-a.b", "other")


@pytest.mark.parametrize(
    ("records", "failed", "answer"),
    [
        ([make_record(1)], set(), None),
        ([make_record(1), make_record(2)], {1}, sequence(2)),
        (
            [make_record(n, SequenceNumber=s) for n, s in enumerate(("99", "100", "101"))],
            {0, 1, 2},
            "99",
        ),
        (
            [make_record(n, SequenceNumber=s) for n, s in enumerate(("100", "99", "101"))],
            {0, 1, 2},
            "99",
        ),
        ([make_record(5), make_record(3, arn=OTHER)], {0, 1}, sequence(5)),
    ],
)
def test_the_answer_is_the_lowest_as_an_integer_or_the_first_of_mixed_streams(
    records: list[object], failed: set[int], answer: str | None
) -> None:
    assert lowest_failed(records, failed) == answer


# Logs


def test_each_invocation_leaves_one_line_of_facts_and_no_content(bench: Bench) -> None:
    bench.run(POISON, *(make_record(n) for n in (1, 2, 3)))
    (line,) = bench.lines
    assert line == {
        "level": "INFO",
        "message": "forwarded",
        "request": "request-1",
        "streams": [ARN],
        "records": 4,
        "unreadable": 1,
        "messages": 2,
        "objects": 0,
        "bytes": sum(bench.sqs.call_bytes),
        "sent": [
            {"message_id": "m-0", "task_id": "", "first": sequence(0), "last": sequence(0)},
            {
                "message_id": "m-1",
                "task_id": bench.sqs.sent[1].task_id,
                "first": sequence(1),
                "last": sequence(3),
            },
        ],
        "failed": None,
        "_aws": line["_aws"],
        "Queue": "changes",
        "RecordsReceived": 4,
        "ChunksSent": 1,
        "BytesSent": sum(bench.sqs.call_bytes),
        "OverflowObjects": 0,
        "RecordsDeadLettered": 1,
        "SendRetries": 0,
        "BatchFailures": 0,
    }


def test_the_line_declares_each_of_its_metrics_with_its_unit(bench: Bench) -> None:
    bench.run(make_record(1))
    (line,) = bench.lines
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == NOW.timestamp() * 1000
    assert (directive["Namespace"], directive["Dimensions"]) == ("Sluice", [["Queue"]])
    assert directive["Metrics"] == [{"Name": m.name, "Unit": m.unit} for m in METRICS]


def test_retries_and_what_lambda_shall_deliver_again_are_counted(bench: Bench) -> None:
    bench.sqs.faults.append(AWAY)
    bench.run(make_record(1))
    bench.sqs.always[QUEUE] = DENIED
    bench.run(make_record(2), make_record(3))
    first, second = (line for line in bench.lines if line["message"] == "forwarded")
    assert (first["SendRetries"], first["ChunksSent"], first["BatchFailures"]) == (1, 1, 0)
    assert (second["ChunksSent"], second["BatchFailures"], second["sent"]) == (0, 1, [])


def test_metrics_are_written_at_every_level_and_what_is_for_people_is_not() -> None:
    bench = Bench(log_level="ERROR")
    bench.run(make_record(1))
    (line,) = bench.lines
    assert (line["RecordsReceived"], line["ChunksSent"]) == (1, 1)
    assert line["_aws"]["CloudWatchMetrics"]
    assert not line.keys() & {"sent", "streams", "messages"}


@pytest.mark.parametrize("fault", [None, DENIED, AWAY])
def test_nothing_of_an_item_is_ever_logged(bench: Bench, fault: Exception | None) -> None:
    if fault:
        bench.sqs.faults.append(fault)
    secret = {"S": "secret"}
    bench.settings = Settings(QUEUE, DEAD, "overflow", log_level="DEBUG")
    bench.run(make_record(1, Keys={"id": secret}, NewImage={"id": secret}), POISON)
    assert bench.lines
    assert "secret" not in bench.output.getvalue()
