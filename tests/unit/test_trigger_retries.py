"""The trigger retries, splits, gives up and reports failed batches as AWS documents it.

Source, unless a test names another: AWS Lambda Developer Guide, "Retain discarded records for a
DynamoDB event source in Lambda"
(https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html).
"""

import json
from typing import Any

import pytest

from console.local.trigger import Trigger
from tests.fake_stream import ARN, FakeFunction, Scene, fail_always, scene

HOUR = 3600.0


def failing(keys: str = "abcd", **settings: Any) -> Scene:
    """Records, in a stream whose function always raises."""
    function = FakeFunction()
    function.answer = fail_always
    made = scene(function, **settings)
    for key in keys:
        made.stream.put(key)
    return made


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retry_attempts_are_those_after_the_first_try(retries: int) -> None:
    """ "Lambda retries until the records ... reach the configured retry quota"."""
    made = failing(retries=retries)
    made.settle()
    assert made.function.batches == [list("abcd")] * (retries + 1)
    [letter] = made.letters
    assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert letter["requestContext"]["approximateInvokeCount"] == retries + 1


def test_unlimited_retries_block_the_shard() -> None:
    """ "With the default settings, a bad record can block processing on the affected shard"."""
    made = failing("a")
    made.poll(50)
    made.stream.put("b")
    made.poll(50)
    assert made.function.batches == [["a"]] * 100
    assert made.letters == []


def test_unlimited_retries_end_when_the_record_expires() -> None:
    """ "-1 means infinite: failed records are retried until the record expires. The data retention
    limit for DynamoDB Streams is 24 hours." ("Lambda parameters for Amazon DynamoDB event source
    mappings")
    """
    made = failing("a")
    made.poll(2)
    made.clock.now += 24 * HOUR
    made.poll()
    assert made.letters == []
    made.clock.now += 1
    made.poll()
    assert [letter["requestContext"]["condition"] for letter in made.letters] == [
        "RecordAgeExceeded"
    ]


def test_records_past_the_maximum_age_are_given_up_and_younger_ones_are_not() -> None:
    """ "If the function ... returns an error, Lambda retries until the records ... exceed the
    maximum age (MaximumRecordAgeInSeconds)".
    """
    made = failing("a", record_age_s=60)
    made.clock.now += 50
    made.stream.put("b")
    made.poll()
    made.clock.now += 11
    made.poll()
    assert made.function.batches == [["a", "b"], ["b"]]
    [letter] = made.letters
    assert letter["requestContext"]["condition"] == "RecordAgeExceeded"
    assert letter["requestContext"]["approximateInvokeCount"] == 1
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 1


def test_records_too_old_before_their_first_invocation_are_never_delivered() -> None:
    """ "MaximumRecordAgeInSeconds - Discard records older than the specified age." (API Reference,
    CreateEventSourceMapping)
    """
    made = failing("a", record_age_s=60)
    made.clock.now += 61
    made.settle()
    assert made.function.batches == []
    [letter] = made.letters
    assert letter["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in letter


def test_the_shard_moves_on_after_a_discard() -> None:
    """ "If the error handling measures fail, Lambda discards the records and continues processing
    batches from the stream."
    """
    made = scene(FakeFunction(poison=frozenset("a")), retries=1, batch_size=1)
    for key in "abc":
        made.stream.put(key)
    made.settle()
    assert made.function.keys == ["a", "a", "b", "c"]
    assert made.trigger.counters.discarded == 1


def test_bisecting_costs_no_retries() -> None:
    """ "Splitting batches doesn't consume the retry quota."."""
    made = scene(FakeFunction(poison=frozenset("b")), retries=0, bisect=True)
    for key in "abcd":
        made.stream.put(key)
    made.settle()
    assert made.function.batches == [["a", "b", "c", "d"], ["a", "b"], ["a"], ["b"], ["c", "d"]]


def test_bisecting_isolates_a_poison_record() -> None:
    """ "BisectBatchOnFunctionError splits a failed batch into two smaller batches, isolating bad
    records".
    """
    made = scene(FakeFunction(poison=frozenset("f")), retries=2, bisect=True)
    numbers = [made.stream.put(key) for key in "abcdefghij"]
    made.settle()
    [letter] = made.letters
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 1
    assert letter["DDBStreamBatchInfo"]["startSequenceNumber"] == numbers[5]
    assert made.function.batches.count(["f"]) == 3, "one try and two retries, alone"
    assert made.trigger.counters.delivered == 9


def test_without_bisect_the_whole_batch_is_given_up() -> None:
    """ "BisectBatchOnFunctionError: default false" ("Lambda parameters for Amazon DynamoDB event
    source mappings").
    """
    made = scene(FakeFunction(poison=frozenset("b")), retries=0)
    for key in "abc":
        made.stream.put(key)
    made.settle()
    assert made.function.batches == [list("abc")]
    assert made.letters[0]["DDBStreamBatchInfo"]["batchSize"] == 3


def test_a_function_that_is_too_slow_has_failed() -> None:
    """ "Timeout: the amount of time that Lambda allows a function to run before stopping it."
    ("Configure Lambda function timeout"): an answer after it counts for nothing.
    """
    function = FakeFunction()
    made = scene(function, timeout_s=5.0, retries=0)

    def dawdle(_: list[str]) -> object:
        before = function.contexts[-1].get_remaining_time_in_millis()
        made.clock.now += 3
        after = function.contexts[-1].get_remaining_time_in_millis()
        made.clock.now += 2
        assert (before, after) == (5000, 2000)
        return None

    function.answer = dawdle
    made.stream.put("a")
    made.settle()
    assert len(made.letters) == 1
    assert "timed out after 5.00 seconds" in made.trigger.counters.last_error


def test_the_context_names_function_and_request() -> None:
    """ "Using the Lambda context object to retrieve Python function information"."""
    made = scene(function_name="producer-x")
    made.stream.put("a")
    made.settle()
    [context] = made.function.contexts
    assert context.function_name == "producer-x"
    assert len(context.aws_request_id) == 36
    assert context.invoked_function_arn.endswith(":123456789012:function:producer-x")


def test_the_invocation_record_has_the_documented_form() -> None:
    """The page's example for DynamoDB; S3 gets `payload` too, the event as escaped JSON text."""
    made = failing("ab", retries=1)
    numbers = [r["dynamodb"]["SequenceNumber"] for r in made.stream.shards["shard-1"].records]
    made.poll(2, seconds=1.5)
    [letter] = made.letters
    payload = json.loads(letter.pop("payload"))
    assert payload == made.function.events[-1]
    assert letter == {
        "requestContext": {
            "requestId": made.function.contexts[-1].aws_request_id,
            "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:producer",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "version": "1.0",
        "timestamp": "2023-11-14T22:13:21.500Z",
        "DDBStreamBatchInfo": {
            "shardId": "shard-1",
            "startSequenceNumber": numbers[0],
            "endSequenceNumber": numbers[1],
            "approximateArrivalOfFirstRecord": "2023-11-14T22:13:20Z",
            "approximateArrivalOfLastRecord": "2023-11-14T22:13:20Z",
            "batchSize": 2,
            "streamArn": ARN,
        },
    }


def test_a_reported_failure_is_no_function_error_in_the_invocation_record() -> None:
    """The function answered in order: nothing was "Unhandled". (Our reading of the example.)"""
    made = scene(FakeFunction(poison=frozenset("a"), report=True), retries=0, report_failures=True)
    made.stream.put("a")
    made.settle()
    assert made.letters[0]["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}


def test_nothing_is_settled_while_the_destination_fails() -> None:
    """Stricter than Lambda, which loses such a batch and counts DestinationDeliveryFailures."""
    made = failing("ab", retries=0)
    taken: list[dict[str, Any]] = []

    def refuse_once(letter: dict[str, Any]) -> None:
        if len(made.function.batches) < 2:
            raise OSError("full")
        taken.append(letter)

    trigger = Trigger(ARN, made.stream, made.function, made.settings, refuse_once, clock=made.clock)
    trigger.poll_once()
    assert (trigger.counters.discarded, trigger.counters.unsettled) == (0, 2)
    assert trigger.snapshot()["shard-1"].after is None
    trigger.poll_once()
    assert (trigger.counters.discarded, trigger.counters.unsettled) == (2, 0)
    assert len(taken) == 1


def test_without_a_destination_discards_are_counted() -> None:
    """ "To retain records of failed event source mapping invocations, add a destination"."""
    made = failing("ab", retries=0)
    trigger = Trigger(ARN, made.stream, made.function, made.settings, clock=made.clock)
    trigger.poll_once()
    assert trigger.counters.discarded == 2
    assert trigger.counters.unsettled == 0
