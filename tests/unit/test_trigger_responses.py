"""The trigger reads the function's answer as AWS documents partial batch responses.

Source, unless a test names another: AWS Lambda Developer Guide, "Configuring partial batch
response with DynamoDB and Lambda"
(https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
"""

from typing import Any

import pytest

from tests.fake_stream import FakeFunction, Scene, scene


def five_records(answer: object, **settings: Any) -> Scene:
    """Five records in one batch; the function gives that answer once, then accepts all."""
    answers = [answer]
    function = FakeFunction()

    def reply(sequences: list[str]) -> object:
        if not answers:
            return None
        given = answers.pop()
        return given(sequences) if callable(given) else given

    function.answer = reply
    made = scene(function, **({"report_failures": True} | settings))
    for key in "abcde":
        made.stream.put(key)
    made.settle()
    return made


def failures(*identifiers: object) -> dict[str, object]:
    """The documented response."""
    return {"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="null EventResponse"),
        pytest.param({}, id="empty EventResponse"),
        pytest.param({"batchItemFailures": None}, id="null list"),
        pytest.param({"batchItemFailures": []}, id="empty list"),
        pytest.param({"statusCode": 200}, id="no list"),
    ],
)
def test_complete_success(answer: object) -> None:
    """ "Lambda treats a batch as a complete success if you return any of the following"."""
    made = five_records(answer)
    assert made.function.batches == [list("abcde")]
    assert made.trigger.counters.failures == 0


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(failures(""), id="empty itemIdentifier"),
        pytest.param(failures(None), id="null itemIdentifier"),
        pytest.param({"batchItemFailures": [{"sequence": "1"}]}, id="bad key name"),
        pytest.param(lambda s: failures(s[2], ""), id="one bad identifier beside a good one"),
    ],
)
def test_complete_failure(answer: object) -> None:
    """ "Lambda treats a batch as a complete failure if you return any of the following"."""
    made = five_records(answer)
    assert made.function.batches == [list("abcde"), list("abcde")]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(failures("123"), id="unknown sequence number"),
        pytest.param(lambda s: failures(int(s[2])), id="a number"),
        pytest.param({"batchItemFailures": "abc"}, id="list is text"),
        pytest.param({"batchItemFailures": ["abc"]}, id="entry is text"),
        pytest.param(["abc"], id="answer is a list"),
        pytest.param("done", id="answer is text"),
        pytest.param({1, 2}, id="answer is no JSON"),
    ],
)
def test_malformed_answer_fails_the_whole_batch(answer: object) -> None:
    """Our reading of "bad key name" and the like: what cannot be understood is retried whole."""
    made = five_records(answer)
    assert made.function.batches == [list("abcde"), list("abcde")]
    assert made.trigger.counters.failures == 1


def test_checkpoint_is_the_lowest_sequence_number() -> None:
    """ "Lambda uses the record with the lowest sequence number as the checkpoint. Lambda then
    retries all records starting from that checkpoint."
    """
    made = five_records(lambda s: failures(s[4], s[2], s[3]))
    assert made.function.batches == [list("abcde"), list("cde")]


def test_lowest_is_by_number_not_by_text() -> None:
    """SequenceNumber is a numeric string of 21 to 40 digits (API Reference, StreamRecord)."""
    function = FakeFunction()
    made = scene(function, report_failures=True)
    made.stream._sequence = 10**21 - 2
    numbers = [made.stream.put("a", step=1), made.stream.put("b", step=1)]
    assert min(numbers) == numbers[1], "as text the second number is the lower one"
    function.answer = lambda s: failures(*s) if len(function.batches) == 1 else None
    made.settle()
    assert function.batches == [["a", "b"], ["a", "b"]]


def test_answers_are_not_read_unless_turned_on() -> None:
    """ "These responses will not be processed by Lambda unless the ReportBatchItemFailures feature
    is explicitly turned on".
    """
    made = five_records(lambda s: failures(s[0]), report_failures=False)
    assert made.function.batches == [list("abcde")]


def test_partial_response_with_bisect_retries_only_what_remains() -> None:
    """ "The batch is bisected at the returned sequence number and Lambda retries only the remaining
    records."
    """
    made = five_records(lambda s: failures(s[3]), bisect=True, retries=0)
    assert made.function.batches == [list("abcde"), list("de")]
    assert made.letters == []


def test_exception_with_bisect_splits_in_half_whatever_is_reported() -> None:
    """ "If your invocation fails and BisectBatchOnFunctionError is turned on, the batch is bisected
    regardless of your ReportBatchItemFailures setting."
    """

    def fail(_: list[str]) -> object:
        raise RuntimeError("down")

    made = five_records(fail, bisect=True)
    assert made.function.batches == [list("abcde"), list("ab"), list("cde")]


def test_partial_response_at_the_first_record_with_bisect_halves_the_batch() -> None:
    """Our choice: nothing lies before that checkpoint, so the batch is halved like a failed one."""
    made = five_records(lambda s: failures(s[0]), bisect=True, retries=0)
    assert made.function.batches == [list("abcde"), list("ab"), list("cde")]


def test_partial_response_without_bisect_costs_a_retry() -> None:
    """ "Lambda retries failures based on your retry strategy."; what is done is not given up."""
    function = FakeFunction()
    function.answer = lambda s: failures(s[1] if len(s) > 1 else s[0])
    made = scene(function, report_failures=True, retries=1)
    for key in "abcd":
        made.stream.put(key)
    made.settle()
    assert function.batches == [list("abcd"), list("bcd")]
    [letter] = made.letters
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 2
    assert made.trigger.counters.delivered == 2
