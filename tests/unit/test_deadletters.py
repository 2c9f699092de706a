"""What `sluice dead-letters` says of a message, which it chooses, and how it counts them."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.deadletters import archive
from console.deadletters.filters import Filter, group_letters, read_duration
from console.deadletters.model import (
    Letter,
    Received,
    Record,
    describe,
    keep_attributes,
    read_contents,
)
from console.deadletters.queue import Parcel, group, read_policy
from console.deadletters.reading import Reader, StillUnreadableError
from producer.contract import (
    CHANGES_TASK,
    FIRST_ATTRIBUTE,
    RECORD_TASK,
    Change,
    Chunk,
    Item,
    decode_chunk,
    encode_chunk,
    encode_record,
    write_attributes,
    write_envelope,
)
from producer.settings import Settings
from tests import strategies
from worker.deadletters import read_time, write_time
from worker.incoming import Call, Undecodable, read_body

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/2024-01-01T00:00:00.000"
NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
SETTINGS = Settings("https://sqs.test/1/main", "https://sqs.test/1/dead", "overflow")


def received(body: str, *, moved: bool = False, sent_ms: int = NOW_MS, **said: str) -> Received:
    return Received("m-1", "r-1", body, write_attributes(**said), sent_ms, 3, moved)


def body_of(*keys: Item, table: str = "posts") -> str:
    changes = tuple(Change("REMOVE", key, NOW_MS - 1, "1" * 21) for key in keys)
    return write_envelope(encode_chunk(Chunk(table, ARN, changes)), "main")


def body_of_record(record: object) -> str:
    return write_envelope(encode_record(record), "main", RECORD_TASK)


def stream_record(**fields: Any) -> dict[str, Any]:
    record = {
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": ARN,
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000,
            "Keys": {"id": {"S": "1"}},
            "NewImage": {"id": {"S": "1"}},
            "SequenceNumber": "1" * 21,
            "StreamViewType": "NEW_IMAGE",
        },
    }
    return record | fields


def letter(**said: str) -> Letter:
    body = body_of({"id": {"S": "1"}})
    return describe(Received("m-1", "r-1", body, write_attributes(**said), NOW_MS, 3, False))


def reader(objects: dict[str, bytes] | None = None) -> Reader:
    return Reader(
        SETTINGS, "", (objects or {}).__getitem__, lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )


def test_the_reason_on_a_message_is_what_is_said_of_it() -> None:
    said = letter(
        error="mapper_parsing_exception",
        reason="no",
        index="posts-write",
        id="1",
        origin="worker",
        at="2026-01-02T03:04:05+00:00",
    )
    assert (said.error, said.reason, said.table) == ("mapper_parsing_exception", "no", "posts")
    assert (said.index, said.origin, said.ids) == ("posts-write", "worker", ("1",))
    assert said.keys == ('{"id":{"S":"1"}}',)
    assert write_time(said.since_ms) == "2026-01-02T03:04:05Z"


def test_a_message_that_sqs_moved_is_described_by_what_it_holds() -> None:
    said = describe(received(body_of({"id": {"N": "7"}}, {"id": {"S": "x"}}), moved=True))
    assert (said.error, said.origin, said.table, said.kind) == (
        "MaxReceives",
        "sqs",
        "posts",
        "changes",
    )
    assert said.ids == ("~n7", "x")
    assert said.since_ms == NOW_MS


@pytest.mark.parametrize("body", ["no json", "{}", "e30=", write_envelope("9:x", "main")])
def test_a_body_that_nobody_can_read_is_undecodable_with_the_reason(body: str) -> None:
    said = describe(received(body, moved=True))
    assert (said.error, said.kind) == ("UndecodableMessage", "undecodable")
    assert said.reason


@pytest.mark.parametrize(
    "record",
    [None, 1, [], {}, {"dynamodb": {"Keys": {"id": {"S": 1}}}}, {"dynamodb": {"Keys": "x"}}],
)
def test_a_record_may_be_wrong_in_any_way(record: object) -> None:
    said = describe(received(body_of_record(record), error="UnreadableRecord"))
    assert (said.kind, said.keys) == ("record", ())


def test_the_key_of_an_unreadable_record_is_told_if_it_has_one() -> None:
    said = describe(received(body_of_record(stream_record(eventName="?"))))
    assert (said.table, said.ids) == ("posts", ("1",))


@given(st.text(st.characters(codec="utf-8"), min_size=1), strategies.chunks())
def test_describing_never_fails_and_never_tells_what_a_document_holds(
    text: str, chunk: Chunk
) -> None:
    describe(received(text))
    said = describe(received(write_envelope(encode_chunk(chunk), "main")))
    assert said.table == chunk.table
    assert len(said.keys) <= len(chunk.changes)


@pytest.mark.parametrize(
    ("filter", "matches"),
    [
        (Filter(), True),
        (Filter(messages=frozenset({"m-1"})), True),
        (Filter(messages=frozenset({"m-2"})), False),
        (Filter(tables=("other", "posts")), True),
        (Filter(tables=("other",)), False),
        (Filter(indices=("posts-write",)), True),
        (Filter(indices=("posts",)), False),
        (Filter(errors=("Refused",)), True),
        (Filter(errors=("refused",)), False),
        (Filter(reason="FIELD [score]"), True),
        (Filter(reason="title"), False),
        (Filter(keys=("~n7",)), True),
        (Filter(keys=("7",)), True),
        (Filter(keys=('{ "id": {"N": "7"} }',)), True),
        (Filter(keys=("8",)), False),
        (Filter(older_than_ms=2 * DAY_MS), True),
        (Filter(older_than_ms=4 * DAY_MS), False),
        (Filter(newer_than_ms=4 * DAY_MS), True),
        (Filter(newer_than_ms=2 * DAY_MS), False),
        (Filter(tables=("posts",), errors=("other",)), False),
    ],
)
def test_a_filter_means_what_passes_all_of_its_tests(filter: Filter, matches: bool) -> None:
    said = describe(
        received(
            body_of({"id": {"N": "7"}}),
            error="Refused",
            reason="failed to parse field [score]",
            index="posts-write",
            at=write_time(NOW_MS - 3 * DAY_MS),
        )
    )
    assert filter.matches(said, NOW_MS) is matches


def test_groups_count_by_error_and_table_and_show_the_newest() -> None:
    letters = [
        letter(error="A", reason=f"r{day}", at=write_time(NOW_MS - day * DAY_MS))
        for day in (3, 1, 2)
    ] + [letter(error="B", table="others")]
    groups = group_letters(letters)
    assert [(g.error, g.table, g.count) for g in groups] == [("A", "posts", 3), ("B", "others", 1)]
    first = groups[0]
    assert (first.oldest_ms, first.newest_ms) == (NOW_MS - 3 * DAY_MS, NOW_MS - DAY_MS)
    assert first.example.reason == "r1"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 10**12))))
def test_every_letter_is_in_exactly_one_group(sorts: list[tuple[str, str, int]]) -> None:
    letters = [letter(error=e, table=t, at=write_time(ms)) for e, t, ms in sorts]
    groups = group_letters(letters)
    assert sum(g.count for g in groups) == len(letters)
    assert len({(g.error, g.table) for g in groups}) == len(groups)


@pytest.mark.parametrize(
    ("text", "ms"), [("90s", 90_000), ("15m", 900_000), ("36h", 129_600_000), ("2w", 14 * DAY_MS)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, ms: int) -> None:
    assert read_duration(text) == ms


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1.5h", "1y", "\u0661h"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        read_duration(text)


def test_a_time_without_a_zone_is_utc_and_nonsense_is_none() -> None:
    assert read_time("2026-01-01T00:00:00") == read_time("2026-01-01T01:00:00+01:00")
    assert [read_time(t) for t in ("yesterday", "", "0001-01-01", "9999-12-31")] == [None] * 4


def test_a_redrive_leaves_the_reason_behind_and_keeps_what_others_put_there() -> None:
    foreign = {"trace": {"DataType": "String", "StringValue": "1"}}
    said = {**write_attributes(error="E", reason="r", receives="3"), **foreign}
    kept = keep_attributes(Received("m", "r", "body", said, NOW_MS, 1, False))
    assert kept == {**foreign, **write_attributes(first=write_time(NOW_MS))}


def test_the_first_time_of_all_outlives_redrives_and_archives() -> None:
    first = "2026-01-02T03:04:05Z"
    one = received(body_of({"id": {"S": "1"}}), first=first, receives="3", error="E")
    for _ in range(2):
        assert describe(one).first_ms == read_time(first)
        one = replace(one, attributes=keep_attributes(one), sent_ms=one.sent_ms + DAY_MS)
        one = replace(one, attributes=archive.read_line(archive.write_line(one)).attributes)
    assert describe(one).first_ms == read_time(first)
    assert (describe(one).tried, describe(received("x", receives="3")).tried) == (None, 3)


@pytest.mark.parametrize("moved", [True, False])
def test_without_a_word_the_first_time_is_when_it_was_sent(moved: bool) -> None:
    one = received(body_of({"id": {"S": "1"}}), moved=moved)
    assert (describe(one).first_ms, describe(one).tried) == (NOW_MS, None)
    assert describe(received("x", first="soon", receives="-1")).first_ms == NOW_MS
    assert archive.read_line(archive.write_line(one)).attributes == write_attributes(
        first=write_time(NOW_MS)
    )


def test_a_message_whose_ten_attributes_are_taken_is_redriven_all_the_same() -> None:
    foreign = {str(n): {"DataType": "String", "StringValue": "1"} for n in range(10)}
    assert keep_attributes(Received("m", "r", "body", foreign, NOW_MS, 1, True)) == foreign


_attributes = st.dictionaries(
    st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True),
    st.one_of(
        st.builds(lambda v: {"DataType": "String", "StringValue": v}, st.text(min_size=1)),
        st.builds(lambda v: {"DataType": "Binary", "BinaryValue": v}, st.binary(min_size=1)),
    ),
    max_size=10,
)


@given(st.text(st.characters(codec="utf-8"), min_size=1), _attributes)
def test_a_line_of_the_archive_is_read_back_as_it_was(body: str, attributes: Any) -> None:
    line = archive.write_line(Received("m", "r", body, attributes, NOW_MS, 1, False))
    assert "\n" not in line
    parcel = archive.read_line(line)
    theirs = {n: a for n, a in parcel.attributes.items() if n != FIRST_ATTRIBUTE}
    assert (parcel.body, theirs) == (body, attributes)


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "[]",
        '{"body":1}',
        '{"body":""}',
        '{"body":"b","attributes":[]}',
        '{"body":"b","attributes":{"a":{"DataType":"String"}}}',
        '{"body":"b","attributes":{"a":{"DataType":"Binary","BinaryValue":"?"}}}',
    ],
)
def test_a_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        archive.read_line(line)


@given(st.lists(st.integers(1, 400), max_size=40))
def test_batches_hold_every_message_once_within_both_limits(sizes: list[int]) -> None:
    parcels = [Parcel("x" * size, {}) for size in sizes]
    batches = group(parcels, 1000)
    assert [place for batch in batches for place in batch] == list(range(len(sizes)))
    assert all(0 < len(batch) <= 10 for batch in batches)
    assert all(sum(sizes[place] for place in batch) <= 1000 for batch in batches)


def test_attributes_count_against_the_limit() -> None:
    attributes: dict[str, Any] = {
        "ab": {"DataType": "String", "StringValue": "ü"},
        "c": {"DataType": "Binary", "BinaryValue": b"123"},
    }
    assert Parcel("body", attributes).count_bytes() == 4 + (2 + 6 + 2) + (1 + 6 + 3)


@pytest.mark.parametrize("text", ["", "x", "[]", '{"deadLetterTargetArn":"a"}', "null"])
def test_a_queue_without_a_redrive_policy_has_no_dead_letters(text: str) -> None:
    assert read_policy(text) is None


def test_a_record_that_reads_now_becomes_a_change() -> None:
    messages = reader().read(Record(stream_record()))
    assert [message.url for message in messages] == [SETTINGS.queue_url]
    call = read_body(messages[0].body)
    assert isinstance(call, Call)
    assert call.task == CHANGES_TASK
    change = decode_chunk(call.payload).changes[0]
    assert (change.kind, change.sequence, change.new) == ("INSERT", "1" * 21, {"id": {"S": "1"}})


def test_a_record_that_lies_in_the_bucket_is_fetched() -> None:
    import zlib

    stored = {"unreadable/1": zlib.compress(json.dumps(stream_record()).encode())}
    claim = {"overflow": {"key": "unreadable/1", "bytes": 1}}
    assert len(reader(stored).read(Record(claim))) == 1


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (stream_record(eventName="MERGE"), "MERGE"),
        ("text", "no object"),
        (stream_record(dynamodb={"StreamViewType": "KEYS_ONLY"}), "KEYS_ONLY"),
        ({"overflow": {"key": "bad", "bytes": 1}}, "bad"),
    ],
)
def test_a_record_that_still_cannot_be_read_stays_with_the_reason(record: object, why: str) -> None:
    with pytest.raises(StillUnreadableError, match=why):
        reader({"bad": b"no zlib"}).read(Record(record))


def test_without_the_producers_settings_a_record_stays() -> None:
    lacking = Reader(
        None,
        "SLUICE_OVERFLOW_BUCKET is not set",
        dict[str, bytes]().__getitem__,
        lambda: datetime.now(UTC),
    )
    with pytest.raises(StillUnreadableError, match="SLUICE_OVERFLOW_BUCKET"):
        lacking.read(Record(stream_record()))


def test_contents_of_a_body_with_a_bad_payload_are_undecodable() -> None:
    assert isinstance(read_contents(write_envelope("1:AAAA", "main")), Undecodable)
