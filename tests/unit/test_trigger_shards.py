"""The trigger reads shards, their lineage and their faults so that nothing is lost silently.

Sources: Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams"; DynamoDB
Streams API Reference, GetShardIterator and GetRecords; AWS Lambda Developer Guide, "Using AWS
Lambda with Amazon DynamoDB" (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).
"""

import threading
from collections.abc import Callable

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

from console.local.reader import Position
from console.local.trigger import Gap, Trigger
from tests.fake_stream import ARN, FakeFunction, Scene, client_error, fail_always, scene


def test_trim_horizon_starts_at_the_oldest_record() -> None:
    """StartingPosition TRIM_HORIZON: "the last (untrimmed) stream record" (GetShardIterator)."""
    made = scene()
    for key in "abc":
        made.stream.put(key)
    made.stream.trim("shard-1", 1)
    made.settle()
    assert made.function.keys == ["b", "c"]
    assert made.trigger.counters.gaps == ()


def test_latest_starts_with_the_next_record() -> None:
    """StartingPosition LATEST: "just after the most recent stream record" (GetShardIterator)."""
    made = scene(starting_position="LATEST")
    made.stream.put("old")
    made.poll()
    made.stream.put("new")
    made.settle()
    assert made.function.keys == ["new"]


def test_latest_reads_shards_that_appear_later_from_their_start() -> None:
    """A child shard's records are all newer than the start, so LATEST would lose some."""
    made = scene(starting_position="LATEST")
    made.stream.put("old")
    made.poll()
    made.stream.close_shard("shard-1")
    made.stream.open_shard("shard-2", parent="shard-1")
    made.stream.put("new", "shard-2")
    made.settle()
    assert made.function.keys == ["new"]


def test_latest_skips_shards_that_were_closed_before() -> None:
    """Nothing is written to a closed shard any more."""
    made = scene(starting_position="LATEST")
    made.stream.put("old")
    made.stream.close_shard("shard-1")
    made.stream.open_shard("shard-2", parent="shard-1")
    made.poll()
    made.stream.put("new", "shard-2")
    made.settle()
    assert made.function.keys == ["new"]


def test_a_latest_iterator_that_expires_unread_loses_nothing() -> None:
    """Its place has no other name: the shard is read whole instead (our choice)."""
    made = scene(starting_position="LATEST")
    made.stream.put("old")
    made.poll()
    made.stream.put("new")
    made.stream.expire_iterators()
    made.settle()
    assert made.function.keys == ["old", "new"]


def test_a_latest_iterator_survives_other_errors() -> None:
    """Taking a new one after a failed read would lose what was written in between."""
    made = scene(starting_position="LATEST")
    made.stream.put("old")
    made.poll()
    made.stream.put("new")
    made.stream.faults["GetRecords"] = [client_error("InternalServerError")]
    made.settle()
    assert made.function.keys == ["new"]


def test_a_parent_shard_is_processed_before_its_children() -> None:
    """ "Applications must always process a parent shard before it processes a child shard"."""
    made = scene(FakeFunction(poison=frozenset("a")))
    made.stream.put("a")
    made.stream.close_shard("shard-1")
    for child in ("shard-2", "shard-3"):
        made.stream.open_shard(child, parent="shard-1")
        made.stream.put(child, child)
    made.poll(20, seconds=2)
    assert set(made.function.keys) == {"a"}, "the parent's record is read, but not settled"
    made.function.poison = frozenset()
    made.settle()
    assert made.function.keys[-3] == "a"
    assert set(made.function.keys[-2:]) == {"shard-2", "shard-3"}


def test_a_parent_that_the_stream_has_forgotten_holds_nobody_up() -> None:
    """Shards are removed with their records, 24 hours later."""
    made = scene()
    made.stream.open_shard("shard-9", parent="shard-0")
    made.stream.put("a", "shard-9")
    made.settle()
    assert made.function.keys == ["a"]


def test_open_shards_do_not_wait_for_each_other() -> None:
    """Lambda polls every shard by itself."""
    made = scene(FakeFunction(poison=frozenset("a")))
    made.stream.put("a")
    made.stream.put("b", "shard-2")
    made.poll(3)
    assert "b" in made.function.keys


def test_pages_without_records_do_not_end_a_shard() -> None:
    """ "It might take multiple calls to get to a portion of the shard that contains stream
    records" (GetRecords).
    """
    made = scene()
    made.poll(3)
    made.stream.put("a")
    made.settle()
    assert made.function.keys == ["a"]
    assert not made.trigger.snapshot()["shard-1"].finished


def test_an_expired_iterator_is_taken_anew_after_the_last_record() -> None:
    """ExpiredIteratorException: "a shard iterator expires 15 minutes after it is retrieved"."""
    made = scene()
    made.stream.put("a")
    made.poll(2)
    made.stream.put("b")
    made.stream.expire_iterators()
    made.settle()
    assert made.function.keys == ["a", "b"]
    assert made.trigger.counters.read_errors == 1


def test_trimmed_records_are_reported_as_a_gap() -> None:
    """TrimmedDataAccessException: "attempted to read past the oldest stream record"."""
    made = scene()
    first = made.stream.put("a")
    made.poll(2)
    made.stream.put("lost")
    made.stream.put("b")
    made.stream.trim("shard-1", 2)
    made.settle()
    assert made.function.keys == ["a", "b"]
    assert made.trigger.counters.gaps == (Gap("shard-1", after=first),)


def test_a_trimmed_checkpoint_is_reported_as_a_gap_on_resume() -> None:
    """The same error from GetShardIterator, after a stop of more than 24 hours."""
    made = scene()
    first = made.stream.put("a")
    made.settle()
    made.stream.put("lost")
    made.stream.put("b")
    made.stream.trim("shard-1", 2)
    made.start(resume=True)
    made.settle()
    assert made.function.keys == ["a", "b"]
    assert made.trigger.counters.gaps == (Gap("shard-1", after=first),)


def test_a_shard_that_vanished_unread_is_reported_as_a_gap() -> None:
    """It was removed with its records while the trigger stood still; its children go on."""
    made = scene()
    first = made.stream.put("a")
    made.settle()
    made.stream.open_shard("shard-2", parent="shard-1")
    made.stream.put("b", "shard-2")
    del made.stream.shards["shard-1"]
    made.start(resume=True)
    made.settle()
    assert made.function.keys == ["a", "b"]
    assert made.trigger.counters.gaps == (Gap("shard-1", after=first),)


def test_a_listed_shard_that_is_not_found_is_tried_again() -> None:
    """ResourceNotFoundException alone proves nothing while the stream lists the shard."""
    made = scene()
    made.stream.put("a")
    made.stream.faults["GetRecords"] = [client_error("ResourceNotFoundException")]
    made.settle()
    assert made.function.keys == ["a"]
    assert made.trigger.counters.gaps == ()


@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator", "GetRecords"])
@pytest.mark.parametrize(
    "fault",
    [
        lambda: client_error("InternalServerError"),
        lambda: client_error("LimitExceededException"),
        lambda: client_error("500"),
        lambda: client_error("AccessDeniedException"),
        lambda: EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        lambda: ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"),
    ],
)
def test_any_other_error_is_tried_again_and_never_ends_a_shard(
    operation: str, fault: Callable[[], Exception]
) -> None:
    """Only a page without NextShardIterator says that a shard is at its end (GetRecords)."""
    made = scene()
    made.stream.put("a")
    made.stream.faults[operation] = [fault(), fault(), fault()]
    made.poll(3, seconds=2)
    assert made.function.keys == []
    assert made.trigger.counters.read_errors == 3
    made.settle()
    made.stream.put("b")
    made.settle()
    assert made.function.keys == ["a", "b"]
    assert made.trigger.counters.gaps == ()


def stop_in_the_middle() -> Scene:
    """Two of four records settled, the third failing; then a new trigger from the snapshot."""
    made = scene(FakeFunction(poison=frozenset("c")), batch_size=2)
    for key in "abcd":
        made.stream.put(key)
    made.poll(4)
    made.function.poison = frozenset()
    made.function.batches.clear()
    return made


def test_a_trigger_resumes_after_what_was_settled() -> None:
    """ "Lambda event source mappings process each event at least once" ("How Lambda processes
    records from stream and queue-based event sources").
    """
    made = stop_in_the_middle()
    made.start(resume=True)
    made.settle()
    assert made.function.keys == ["c", "d"]


def test_a_resumed_trigger_knows_the_shards_it_has_finished() -> None:
    """A finished parent is not delivered again, and does not hold its child up."""
    made = scene()
    made.stream.put("a")
    made.stream.close_shard("shard-1")
    made.stream.open_shard("shard-2", parent="shard-1")
    made.settle()
    assert made.trigger.snapshot()["shard-1"].finished
    made.stream.put("b", "shard-2")
    made.start(resume=True)
    made.settle()
    assert made.function.keys == ["a", "b"]


def test_a_resumed_trigger_never_uses_latest() -> None:
    """What was written while it stood still must come."""
    made = scene(starting_position="LATEST")
    made.poll()
    made.stream.put("a")
    made.stream.put("b", "shard-2")
    made.start(resume=True)
    assert made.trigger.snapshot() == {"shard-1": Position()}
    made.settle()
    assert sorted(made.function.keys) == ["a", "b"]  # of two shards: in either order


def test_reading_stops_while_enough_records_wait() -> None:
    """A function that is down must not fill the memory."""
    function = FakeFunction()
    function.answer = fail_always
    made = scene(function, batch_size=10)
    made.stream.page = 10
    for n in range(1_000):
        made.stream.put(str(n))
    made.poll(200)
    assert made.trigger.counters.read <= 20
    function.answer = None
    made.settle()
    assert made.trigger.counters.delivered == 1_000


def test_counters_tell_what_happened() -> None:
    """IteratorAge: Lambda's metric of that name is the age of the last record of a batch; ours is
    that of the oldest record not yet settled, so that it grows while a shard is stuck.
    """
    made = scene(FakeFunction(poison=frozenset("b")), batch_size=1, retries=3)
    made.stream.put("a")
    made.stream.put("b")
    made.poll(2)
    made.clock.now += 30
    made.poll()
    counters = made.trigger.counters
    assert (counters.read, counters.delivered, counters.invocations) == (2, 1, 3)
    assert (counters.failures, counters.unsettled, counters.iterator_age_s) == (2, 1, 30.0)
    assert counters.last_error == "RuntimeError: cannot take b"
    made.settle()
    counters = made.trigger.counters
    assert (counters.discarded, counters.unsettled, counters.iterator_age_s) == (1, 0, 0.0)


def test_run_polls_until_it_is_told_to_stop() -> None:
    """The thread a pipeline starts."""
    made = scene()
    stop, seen = threading.Event(), threading.Event()

    def notice(event: object, context: object) -> None:
        seen.set()

    trigger = Trigger(ARN, made.stream, notice, made.settings, clock=made.clock)
    thread = threading.Thread(target=trigger.run, args=(stop,))
    thread.start()
    made.stream.put("a")
    assert seen.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert trigger.counters.delivered == 1
