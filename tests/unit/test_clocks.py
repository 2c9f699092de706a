"""A host whose clock is wrong sends no reads: their time would be wrong, and undo newer changes."""

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.clocks import DATE_MS, check_clock, measure_ahead
from console.errors import MisuseError
from console.session import Session
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


@pytest.mark.parametrize(("ahead_s", "ends"), [(0, False), (25, False), (40, True), (-40, True)])
def test_there_is_no_way_into_the_queue_for_reads_with_a_wrong_time(
    ahead_s: int, ends: bool
) -> None:
    environment = {
        "SLUICE_QUEUE_URL": "http://sqs.invalid/1/q",
        "SLUICE_DEAD_LETTER_URL": "http://sqs.invalid/1/d",
        "SLUICE_OVERFLOW_BUCKET": "bucket",
        "SLUICE_ELASTICSEARCH_URL": "http://search.invalid",
        "SLUICE_TABLES": "examples.posts.tables",
    }
    session = Session(environment)
    # What is made when first asked for, asked for already.
    made: dict[str, Any] = {"dynamodb": Described(read_clock_ms() - ahead_s * 1_000)}
    vars(session).update({**made, "sqs": Pair(), "s3": None})
    session.describe(Table("posts"))
    if ends:
        with pytest.raises(MisuseError, match="SLUICE_CLOCK_MARGIN_S"):
            _ = session.outlet
    else:
        assert session.outlet
