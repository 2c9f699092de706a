"""The trigger forms batches as AWS documents it: size, window, payload, concurrency.

Source, unless a test names another: AWS Lambda Developer Guide, "How Lambda processes records from
stream and queue-based event sources", section "Batching behavior"
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html).
"""

import json
import threading
from typing import Any

import pytest

from console.local.batches import TriggerSettings, TriggerSettingsError
from console.local.trigger import Trigger
from tests.fake_stream import ARN, FakeFunction, scene


def test_defaults_are_those_of_lambda() -> None:
    """ "Lambda parameters for Amazon DynamoDB event source mappings"."""
    settings = TriggerSettings()
    assert (settings.batch_size, settings.window_s, settings.parallelization) == (100, 0, 1)
    assert (settings.retries, settings.record_age_s) == (-1, -1)
    assert (settings.bisect, settings.report_failures) == (False, False)
    assert settings.payload_bytes == 6 * 1024 * 1024


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batch_size": 10_001},
        {"window_s": -1},
        {"window_s": 301},
        {"parallelization": 0},
        {"parallelization": 11},
        {"retries": -2},
        {"retries": 10_001},
        {"record_age_s": 0},
        {"record_age_s": 59},
        {"record_age_s": 604_801},
        {"payload_bytes": 6 * 1024 * 1024 + 1},
        {"starting_position": "AT_TIMESTAMP"},
        {"timeout_s": 0},
    ],
    ids=str,
)
def test_settings_outside_the_documented_ranges_are_refused(wrong: dict[str, Any]) -> None:
    """ "Lambda parameters for Amazon DynamoDB event source mappings"; API Reference,
    CreateEventSourceMapping.
    """
    with pytest.raises(TriggerSettingsError, match=next(iter(wrong))):
        TriggerSettings(**wrong)


def test_a_batch_ends_at_the_batch_size() -> None:
    """ "The batch size is met.", and the rest goes in the next one."""
    made = scene(batch_size=2)
    for key in "abcde":
        made.stream.put(key)
    made.settle()
    assert made.function.batches == [["a", "b"], ["c", "d"], ["e"]]


def test_without_a_window_records_go_as_soon_as_they_are_there() -> None:
    """ "The default batching window is 0 seconds": batches go "as quickly as possible"."""
    made = scene()
    made.stream.put("a")
    made.poll()
    assert made.function.batches == [["a"]]


def test_a_window_gathers_records_over_several_polls() -> None:
    """ "The batching window reaches its maximum value."."""
    made = scene(window_s=10)
    for key in "abc":
        made.stream.put(key)
        made.poll(seconds=4)
    assert made.function.batches == []
    made.poll()
    assert made.function.batches == [["a", "b", "c"]]


def test_the_next_window_begins_when_the_invocation_completes() -> None:
    """ "The next batching window begins as soon as the previous function invocation completes."."""
    made = scene(window_s=10)
    made.poll(seconds=10)
    made.stream.put("a")
    made.poll(seconds=9)
    made.stream.put("b")
    made.poll()
    assert made.function.batches == [["a"]]
    made.clock.now += 1
    made.poll()
    assert made.function.batches == [["a"], ["b"]]


def test_a_full_batch_does_not_wait_for_the_window() -> None:
    """ "Lambda invokes your function when one of the following three criteria is met"."""
    made = scene(window_s=300, batch_size=2)
    for key in "abc":
        made.stream.put(key)
    made.poll(3)
    assert made.function.batches == [["a", "b"]]


def test_a_batch_ends_below_the_payload_limit() -> None:
    """ "The payload size reaches 6 MB. You cannot modify this limit."; counted on the wire."""
    made = scene(payload_bytes=10_000, window_s=300)
    for key in "abcdé":
        made.stream.put(key, size=3_000)
    made.poll(3)
    assert made.function.batches == [["a", "b"], ["c", "d"]]
    for event in made.function.events:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        assert len(text.encode()) <= 10_000


def test_a_record_above_the_payload_limit_goes_alone() -> None:
    """Our choice: such a record cannot be split, and must not stop the shard."""
    made = scene(payload_bytes=1_000)
    made.stream.put("a")
    made.stream.put("b", size=3_000)
    made.stream.put("c")
    made.settle()
    assert made.function.batches == [["a"], ["b"], ["c"]]


def test_one_batch_of_a_shard_at_a_time() -> None:
    """ParallelizationFactor, default 1: a batch that fails comes again before anything newer."""
    made = scene(FakeFunction(poison=frozenset("a")), batch_size=1, retries=2)
    for key in "ab":
        made.stream.put(key)
    made.settle()
    assert made.function.keys == ["a", "a", "a", "b"]


def test_parallel_batches_run_at_the_same_time() -> None:
    """ParallelizationFactor: "process multiple batches from each shard concurrently" (API
    Reference, CreateEventSourceMapping). Each invocation waits for the other here.
    """
    made = scene(parallelization=2)
    for key in map(str, range(20)):
        made.stream.put(key)
    meeting = threading.Barrier(2, timeout=10)

    def meet(event: dict[str, Any], context: object) -> None:
        meeting.wait()

    trigger = Trigger(ARN, made.stream, meet, made.settings, clock=made.clock)
    assert trigger.poll_once().invoked == 2
    assert trigger.counters.delivered == 20


def test_a_partition_key_keeps_its_order_in_parallel_batches() -> None:
    """ "Lambda still ensures in-order processing at the partition-key level" (AWS Compute Blog,
    "New AWS Lambda scaling controls for Kinesis and DynamoDB event sources").
    """
    made = scene(parallelization=10, batch_size=3)
    written = [f"{n % 7}" for n in range(70)]
    numbers: dict[str, list[str]] = {}
    for key in written:
        numbers.setdefault(key, []).append(made.stream.put(key))
    made.settle()
    got: dict[str, list[str]] = {}
    for event in made.function.events:
        for record in event["Records"]:
            key = record["dynamodb"]["Keys"]["id"]["S"]
            got.setdefault(key, []).append(record["dynamodb"]["SequenceNumber"])
    assert got == numbers


def test_a_failing_lane_holds_up_its_own_keys_only() -> None:
    """ParallelizationFactor: the batches of a shard are separate, and so are their retries; the
    checkpoint stays before the failed record all the same.
    """
    made = scene(FakeFunction(poison=frozenset({"k0"})), parallelization=2)
    first = made.stream.put("k1")
    poison = made.stream.put("k0")
    for n in range(2, 30):
        made.stream.put(f"k{n}")
    made.poll(20)
    assert 0 < made.trigger.counters.delivered < 30
    assert made.trigger.snapshot()["shard-1"].after in (None, first)
    assert int(made.trigger.snapshot()["shard-1"].after or 0) < int(poison)
    made.function.poison = frozenset()
    made.settle()
    assert made.trigger.counters.delivered == 30
