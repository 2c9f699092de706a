"""What status calls red, and the remedy it names; how it looks; what it does without answers."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from console import cli
from console.aws import explain_aws
from console.deadletters.filters import group_letters
from console.deadletters.model import Letter
from console.errors import MisuseError
from console.sending import Depth
from console.session import TableFacts, read_facts
from console.status.asking import CLUSTER, Asker
from console.status.facts import (
    DeadLetters,
    Facts,
    GivenUp,
    IndexFacts,
    Pipeline,
    Trigger,
    Unknown,
)
from console.status.gather import bucket_name, read_trigger
from console.status.judge import Sign, gap_since, judge, read_label
from console.status.lag import at_most_s, merge, more_than_s
from console.status.metrics import (
    Figure,
    Point,
    delivery_failures,
    function_name,
    iterator_age,
    oldest_message,
    read_figures,
    read_past,
)
from console.status.past import LONGEST, failed_since_ms, late_since_ms, past_since
from console.status.pipeline import judge_pipeline
from console.status.render import describe_pipeline, write_lag, write_pipeline, write_table
from console.status.words import write_span
from console.verify.agreement import Agreement
from worker.errors import ConfigurationError, MovedError, UnavailableError
from worker.state import LagCounts, ValveState, WorkerState

BORN = datetime(2026, 1, 1, 12, tzinfo=UTC)
LABEL = "2026-01-01T12:00:01.500"
LATER = "2026-03-01T00:00:00.000"
NOW = 1_767_300_060_000
DAY_S = 86_400
TABLE = TableFacts("arn", "id", ("id",), 5, BORN, "ACTIVE", "arn:stream", True, LABEL, "NEW_IMAGE")
INDEX = IndexFacts("posts-v1", 5, 0, 2, 0, 0, 1_767_300_000_000, {LABEL: 1_767_300_000_000}, None)
TRIGGER = Trigger("uuid", "function", "Enabled", "OK", True, "arn:aws:s3:::failures", 800)
STEADY = {"phase": "none", "old": "posts-v1", "next": None}
WELL = Facts(
    table="posts",
    now_ms=NOW,
    dynamodb=TABLE,
    index=INDEX,
    triggers=(TRIGGER,),
    rebuild=STEADY,
)
BOUNDS = (1.0, 5.0, 60.0, 1_209_600.0)
WORKER = WorkerState(
    "sluice",
    "host:1",
    NOW - 5_000,
    NOW - DAY_S,
    4,
    True,
    lag=LagCounts(300, BOUNDS, (90, 9, 1, 0, 0)),
)
EMPTY = Depth(0, 0, 0)
FLOWING = Pipeline(
    queue="sluice",
    now_ms=NOW,
    depth=Depth(7, 2, 0),
    retention_s=14 * DAY_S,
    oldest_s=3.0,
    dead=EMPTY,
    dead_retention_s=14 * DAY_S,
    given_up=GivenUp("failures", 0, True, "", ()),
    workers=(WORKER,),
)


def red(signs: list[Sign]) -> list[tuple[str, str]]:
    return [(sign.what, sign.remedy) for sign in signs if sign.level == "red"]


def test_nothing_is_red_where_all_is_well() -> None:
    assert judge(WELL) == []
    assert judge_pipeline(FLOWING) == []
    assert any("proven equal to the table: never" in line for line in write_table(WELL))


@pytest.mark.parametrize(
    ("facts", "word", "remedy"),
    [
        (replace(WELL, dynamodb=replace(TABLE, stream_on=False)), "no stream", "repair posts"),
        (replace(WELL, dynamodb=replace(TABLE, view="KEYS_ONLY")), "KEYS_ONLY", "NEW_IMAGE"),
        (replace(WELL, dynamodb=replace(TABLE, view="OLD_IMAGE")), "OLD_IMAGE", "repair posts"),
        (replace(WELL, triggers=()), "no Lambda", "event source mapping"),
        (replace(WELL, triggers=(replace(TRIGGER, state="Disabled"),)), "Disabled", "--enabled"),
        (
            replace(WELL, triggers=(replace(TRIGGER, result="PROBLEM: Function call failed"),)),
            "Function call failed",
            "log",
        ),
        (replace(WELL, triggers=(replace(TRIGGER, reports=False),)), "lost", "ReportBatchItem"),
        (
            replace(WELL, triggers=(replace(TRIGGER, age_ms=80_000_000),)),
            "repair needed since 2025-12-31T22:27:40Z",
            "repair posts",
        ),
        (
            replace(
                WELL, triggers=(replace(TRIGGER, undelivered=2, undelivered_since_ms=NOW - 1),)
            ),
            "repair needed since 2025-12-31T20:40:59Z: Lambda gave up on 2",
            "repair posts",
        ),
        (
            replace(WELL, triggers=(replace(TRIGGER, late_since_ms=NOW - 3 * 86_400_000),)),
            "repair needed since 2025-12-29T20:41:00Z: the producer has caught up",
            "repair posts",
        ),
        (
            replace(WELL, waited_since_ms=NOW - 13 * 86_400_000),
            "repair needed since 2025-12-19T20:41:00Z",
            "repair posts",
        ),
        (
            replace(WELL, triggers=(replace(TRIGGER, on_failure="", retries=10_000),)),
            "gives up on records and keeps no copy",
            "--maximum-retry-attempts -1",
        ),
        (
            replace(WELL, triggers=(replace(TRIGGER, on_failure="", record_age_s=60),)),
            "gives up on records and keeps no copy",
            "repair posts",
        ),
        (
            replace(WELL, given_up=(GivenUp("failures", 3, True, "2026-01-01T00:00:00Z", ()),)),
            "Lambda gave up on 3 batches, which wait in failures",
            "SLUICE_ON_FAILURE_BUCKET=failures sluice dead-letters lambda forward",
        ),
        (replace(WELL, index=replace(INDEX, foreign=2)), "2 documents", "repair posts"),
        (
            replace(WELL, index=replace(INDEX, live=0, hidden=0, tombstones=0)),
            "posts-v1 is empty, the table has 5 items",
            "sluice backfill posts",
        ),
        (replace(WELL, index=replace(INDEX, refresh="-1")), "never refreshed", "refresh_interval"),
    ],
)
def test_each_fault_of_a_table_is_red_with_its_remedy(facts: Facts, word: str, remedy: str) -> None:
    ((what, said),) = red(judge(facts))
    assert word in what
    assert remedy in said


def worker(**values: Any) -> Pipeline:
    return replace(FLOWING, workers=(replace(WORKER, **values),))


SHUT = ValveState("shut", NOW - 30_000, NOW + 30_000, "120 of 130 changes refused")


@pytest.mark.parametrize(
    ("facts", "word", "remedy"),
    [
        (replace(FLOWING, dead=Depth(3, 0, 0)), "dead letters: 3", "dead-letters groups"),
        (replace(FLOWING, workers=()), "none ever did", "python -m worker"),
        (worker(at=NOW - 61_000), "the last did at 2026-01-01T20:39:59Z", "python -m worker"),
        (worker(polling=False), "host:1: the poll loop stands still", "log"),
        (worker(breaker="shut"), "the cluster is away", "by itself"),
        (worker(valve=SHUT), "120 of 130 changes refused", "sluice valve open"),
        (worker(valve=SHUT), "a trial at 2026-01-01T20:41:30Z", "dead-letters groups"),
        (worker(valve=replace(SHUT, state="trial", trial_at=None)), "as a trial", "valve open"),
        (replace(FLOWING, depth=Depth(0, 100_000, 0)), "100,000 messages", "in-flight"),
        (
            replace(FLOWING, oldest_s=12.0 * DAY_S),
            "repair needed since 2025-12-20T20:41:00Z",
            "sluice repair TABLE",
        ),
        (
            worker(lag=LagCounts(300, BOUNDS, (0, 0, 0, 0, 5))),
            "repair needed since 2025-12-18T20:41:00Z",
            "sluice repair TABLE",
        ),
        (
            replace(FLOWING, given_up=GivenUp("failures", 4, True, "2026-01-01T00:00:00Z", ("a",))),
            "repair needed since 2026-01-01T00:00:00Z: Lambda gave up on 4 batches of a",
            "sluice dead-letters lambda forward",
        ),
        (
            replace(FLOWING, given_up=GivenUp("failures", 1_000, False, "", ())),
            "1,000 or more batches",
            "forward",
        ),
    ],
)
def test_each_fault_of_a_pipeline_is_red_with_its_remedy(
    facts: Pipeline, word: str, remedy: str
) -> None:
    ((what, said),) = red(judge_pipeline(facts))
    assert word in what
    assert remedy in said


def test_dead_letters_near_the_end_of_their_retention_need_a_repair() -> None:
    letters = DeadLetters((), 3, True, NOW - 1_000 * 12 * DAY_S)
    facts = replace(FLOWING, dead=Depth(3, 0, 0), letters=letters)
    whats = [what for what, _ in red(judge_pipeline(facts))]
    assert len(whats) == 2
    assert "forgotten at 2026-01-03T20:41:00Z" in whats[1]


def test_one_silent_worker_beside_others_is_a_note() -> None:
    silent = replace(WORKER, worker="host:2", at=NOW - 120_000)
    facts = replace(FLOWING, workers=(WORKER, silent))
    (sign,) = judge_pipeline(facts)
    assert (sign.level, "host:2" in sign.what) == ("note", True)
    assert "host:2: silent since" in "\n".join(write_pipeline(facts))


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (replace(WELL, triggers=(replace(TRIGGER, on_failure=""),)), "keeps no copy"),
        (
            replace(WELL, triggers=(replace(TRIGGER, on_failure="arn:aws:sqs:x:1:q", retries=5),)),
            "whether it did is not known",
        ),
        (replace(WELL, triggers=(replace(TRIGGER, age_ms=600_000),)), "10 min behind"),
        (replace(WELL, dynamodb=replace(TABLE, status="UPDATING")), "UPDATING"),
        (
            replace(
                WELL, rebuild={"phase": "due", "declared": 2, "old": "p-v1", "next": "x start"}
            ),
            "version 2 is declared",
        ),
        (
            replace(
                WELL, rebuild={"phase": "copying", "new": "p-v2", "old": "p-v1", "next": "x run"}
            ),
            "the copy is under way",
        ),
        (
            replace(
                WELL, rebuild={"phase": "swapped", "new": "p-v2", "old": "p-v1", "next": "x f"}
            ),
            "kept for a rollback",
        ),
        (replace(WELL, index=replace(INDEX, purgeable=3)), "3 tombstones"),
    ],
)
def test_what_needs_nobody_at_once_is_a_note(facts: Facts, word: str) -> None:
    (sign,) = judge(facts)
    assert (sign.level, word in sign.what) == ("note", True)


def test_the_remedy_of_a_rebuild_is_its_next_step() -> None:
    stand = {"phase": "copied", "new": "b", "old": "a", "next": "sluice rebuild posts run"}
    (sign,) = judge(replace(WELL, rebuild=stand))
    assert sign.remedy == "sluice rebuild posts run"


@pytest.mark.parametrize("name", ["trigger", "retention", "CloudWatch", "lambda failures"])
def test_what_a_pipeline_can_do_without_is_a_note_when_it_cannot_be_asked(name: str) -> None:
    facts = replace(WELL, unknown={name: Unknown("no network", "plug it in")})
    assert judge(facts) == [Sign("note", f"{name} unknown: no network", "plug it in")]


AWAY = UnavailableError("Elasticsearch does not answer: ConnectionError")
KEY = UnavailableError("Elasticsearch answered 401", hint="check SLUICE_ELASTICSEARCH_API_KEY")
NO_INDEX = MovedError("there is no index", hint="the worker makes it when it starts")
NO_TABLE = ClientError(
    {"Error": {"Code": "ResourceNotFoundException", "Message": "Table: nope not found"}},
    "DescribeTable",
)


@pytest.mark.parametrize(
    ("name", "service", "error", "word", "hint"),
    [
        ("index", CLUSTER, AWAY, "does not answer", ""),
        ("index", CLUSTER, KEY, "401", "SLUICE_ELASTICSEARCH_API_KEY"),
        ("table", "dynamodb", NO_TABLE, "nope not found", "AWS_REGION"),
        ("queue", "sqs", NoCredentialsError(), "no AWS credentials", "set up the credentials"),
        ("index", CLUSTER, NO_INDEX, "no index", "the worker makes it"),
        ("rebuild", CLUSTER, ConfigurationError("odd aliases", hint="remove"), "odd", "remove"),
    ],
)
def test_what_does_not_answer_is_red_in_one_line_with_a_hint(
    name: str, service: str, error: Exception, word: str, hint: str
) -> None:
    def fail() -> None:
        raise error

    unknown: dict[str, Unknown] = {}
    Asker().ask(unknown, name, service, fail)
    ((what, remedy),) = red(judge(replace(WELL, unknown=unknown)))
    assert (word in what, hint in remedy, "\n" in what) == (True, True, False)


def test_what_is_away_is_asked_once_and_told_once() -> None:
    def fail() -> None:
        raise AWAY

    def never() -> None:
        raise AssertionError("asked again")

    asker = Asker()
    unknown: dict[str, Unknown] = {}
    asker.ask(unknown, "index", CLUSTER, fail)
    asker.ask(unknown, "rebuild", CLUSTER, never)
    assert asker.ask(unknown, "queue", "sqs", lambda: 5) == 5
    ((what, _),) = red(judge(replace(WELL, unknown=unknown)))
    assert what.startswith("index, rebuild unknown: Elasticsearch does not answer")


def test_an_index_that_is_not_there_says_nothing_of_its_cluster() -> None:
    def fail() -> None:
        raise NO_INDEX

    asker = Asker()
    asker.ask({}, "index", CLUSTER, fail)
    assert asker.ask({}, "workers", CLUSTER, lambda: 5) == 5


def test_without_credentials_no_other_service_of_aws_is_asked() -> None:
    def fail() -> None:
        raise MisuseError("x") from NoCredentialsError()

    asker = Asker()
    unknown: dict[str, Unknown] = {}
    asker.ask(unknown, "table", "dynamodb", fail)
    assert asker.ask(unknown, "queue", "sqs", lambda: 5) is None
    assert asker.ask(unknown, "index", CLUSTER, lambda: 5) == 5
    assert set(unknown) == {"table", "queue"}
    assert isinstance(explain_aws(NoCredentialsError(), "x"), MisuseError)


def test_a_new_stream_needs_a_repair_since_the_newest_change_of_the_one_before() -> None:
    facts = replace(WELL, dynamodb=replace(TABLE, label=LATER))
    ((what, remedy),) = red(judge(facts))
    assert "repair needed since 2026-01-01T20:40:00Z" in what
    assert remedy == "sluice repair posts"
    both = {LABEL: 1_767_300_000_000, LATER: 1_772_323_300_000}
    assert red(judge(replace(facts, index=replace(INDEX, labels=both))))
    proven_before = Agreement(LABEL, 1_767_300_000_000)
    before = replace(INDEX, labels=both, agreement=proven_before)
    assert red(judge(replace(facts, index=before)))
    since = replace(INDEX, labels=both, agreement=Agreement(LATER, 1_772_323_300_000))
    assert not red(judge(replace(facts, index=since)))


def test_a_stream_younger_than_its_table_needs_a_repair_since_the_table_is_there() -> None:
    old = replace(TABLE, created=BORN - timedelta(days=1))
    assert gap_since(old, INDEX) == "2025-12-31T12:00:00Z"
    assert gap_since(TABLE, INDEX) is None
    assert gap_since(replace(TABLE, created=None), INDEX) is None
    assert read_label("no label") == 0


def test_a_table_without_a_stream_is_read() -> None:
    described: Any = {"Table": {"KeySchema": [{"AttributeName": "id"}], "TableName": "posts"}}
    facts = read_facts(described)
    assert (facts.stream_on, facts.label, facts.keys) == (False, None, ("id",))


def test_the_percentiles_of_all_workers_are_merged() -> None:
    slow = replace(WORKER, worker="host:2", lag=LagCounts(300, BOUNDS, (0, 0, 100, 0, 0)))
    facts = replace(FLOWING, workers=(WORKER, slow))
    assert at_most_s(facts.lag, 0.4) == 1.0
    assert (at_most_s(facts.lag, 0.5), at_most_s(facts.lag, 0.99)) == (60.0, 60.0)
    assert "p50 ≤ 60 s, p99 ≤ 60 s of 200 changes in 5 min" in write_lag(facts)
    described = describe_pipeline(facts, [])
    assert described["lag"] == {
        "applied_p50_s": 60.0,
        "applied_p99_s": 60.0,
        "window_s": 300,
        "changes": 200,
    }
    json.dumps(described)


def test_a_silent_worker_counts_for_no_percentile() -> None:
    silent = replace(WORKER, at=NOW - 90_000)
    assert write_lag(replace(FLOWING, workers=(silent,))) == "not known"
    idle = replace(WORKER, lag=LagCounts(300, BOUNDS, (0, 0, 0, 0, 0)))
    assert write_lag(replace(FLOWING, workers=(idle,))) == "no change in the last 5 min"


lags = st.builds(
    lambda pairs, over: LagCounts(
        300,
        tuple(float(b) for b, _ in sorted(pairs.items())),
        (*(c for _, c in sorted(pairs.items())), over),
    ),
    st.dictionaries(st.integers(1, 100), st.integers(0, 50), max_size=6),
    st.integers(0, 5),
)


@given(st.lists(lags, max_size=4), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_no_percentile_of_merged_counts_is_faster_than_each_change_was(
    parts: list[LagCounts], share: float
) -> None:
    changes = sorted(
        bound
        for lag in parts
        for bound, count in zip((*lag.bounds_s, float("inf")), lag.counts, strict=True)
        for _ in range(count)
    )
    merged = merge(parts)
    assert sum(merged.counts) == len(changes)
    bound = at_most_s(merged, share)
    if not changes:
        assert bound is None
        return
    assert bound is not None
    assert sum(one <= bound for one in changes) >= share * len(changes)
    assert more_than_s(merged, share) < bound


def test_reasons_of_a_sample_say_that_it_is_one() -> None:
    letter = Letter(
        "m", "parsing", "why", "posts", "", "worker", "changes", (), (), frozenset(), 1, 1, 3, 1, 1
    )
    letters = DeadLetters(tuple(group_letters([letter, letter])), 200, False, 1)
    facts = replace(FLOWING, dead=Depth(900, 0, 0), letters=letters)
    text = "\n".join(write_pipeline(facts))
    assert "dead    900: 2 parsing of posts (of 200 looked at)" in text
    assert describe_pipeline(facts, [])["letters"]["groups"][0]["count"] == 2


def test_what_comes_from_outside_does_not_steer_the_terminal() -> None:
    assert "\x1b" not in "\n".join(write_pipeline(worker(worker="a\x1b[2J")))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0.4 s"), (45, "45 s"), (119, "119 s"), (180, "3 min"), (7_200, "2 h"),
     (86_400, "24 h"), (1_209_600, "14 days")],
)  # fmt: skip
def test_a_span_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert write_span(seconds) == text


def test_a_mapping_is_read_as_lambda_describes_it() -> None:
    mapping = {
        "UUID": "u",
        "FunctionArn": "arn:aws:lambda:eu-west-1:1:function:producer:live",
        "State": "Enabled",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::failures"}},
    }
    trigger = read_trigger(mapping)
    assert (trigger.reports, trigger.on_failure) == (True, "arn:aws:s3:::failures")
    assert (trigger.retries, trigger.record_age_s) == (-1, -1)
    finite = {**mapping, "MaximumRetryAttempts": 0, "MaximumRecordAgeInSeconds": 604_800}
    assert (read_trigger(finite).retries, read_trigger(finite).record_age_s) == (0, 604_800)
    assert bucket_name(trigger.on_failure) == "failures"
    assert bucket_name("arn:aws:sqs:eu-west-1:1:queue") == bucket_name("") == ""
    assert function_name(trigger.function) == "producer"
    assert read_trigger({"UUID": "u", "DestinationConfig": None}).reports is False


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("cloudwatch", region_name="eu-west-1")


def put_figure(
    cloudwatch: Any, figure: Figure, values: dict[timedelta, float], now: datetime
) -> None:
    """Values by how long ago they were."""
    for ago, value in values.items():
        data: Any = {
            "MetricName": figure.metric,
            "Dimensions": [{"Name": figure.dimension, "Value": figure.value}],
            "Timestamp": now - ago,
            "Value": value,
        }
        cloudwatch.put_metric_data(Namespace=figure.namespace, MetricData=[data])


def minutes(ago: int) -> timedelta:
    return timedelta(minutes=ago)


def test_figures_are_the_worst_of_ten_minutes(cloudwatch: Any) -> None:
    now = datetime.now(UTC).replace(second=30)
    ages = {minutes(2): 700, minutes(5): 90_000, minutes(30): 1e9}
    put_figure(cloudwatch, iterator_age("producer"), ages, now)
    put_figure(cloudwatch, iterator_age("other"), {minutes(2): 5e6}, now)
    put_figure(cloudwatch, oldest_message("sluice"), {minutes(3): 42}, now)
    wanted = [iterator_age("producer"), oldest_message("sluice"), oldest_message("quiet")]
    assert read_figures(cloudwatch, wanted, now) == {
        iterator_age("producer"): 90_000,
        oldest_message("sluice"): 42,
    }


def test_the_past_is_looked_at_from_the_minute_of_the_last_proof_on(cloudwatch: Any) -> None:
    now = datetime.now(UTC).replace(minute=40, second=30, microsecond=0)
    since = now - timedelta(days=4, minutes=20)
    age, failures = iterator_age("producer"), delivery_failures("producer")
    ages = {
        timedelta(days=4, minutes=22): 9e9,  # in the same hour as the proof, and before it
        timedelta(days=4, minutes=12): 5e6,
        timedelta(days=3): 8.64e7,
        minutes(30): 900,
    }
    put_figure(cloudwatch, age, ages, now)
    put_figure(cloudwatch, failures, {timedelta(days=2): 1, timedelta(days=1): 2}, now)
    past = read_past(cloudwatch, [age, failures], since, now)
    assert sorted(point.value for point in past[age]) == [900, 5e6, 8.64e7]
    three_days_ago = (now - timedelta(days=3)).replace(minute=0, second=0)
    assert late_since_ms(past[age], 7e7) == round(three_days_ago.timestamp() * 1_000 - 8.64e7)
    assert late_since_ms(past[age], 1e8) is None
    assert sum(point.value for point in past[failures]) == 3
    two_days_ago = (now - timedelta(days=2)).replace(minute=0, second=0)
    assert failed_since_ms(past[failures]) == round(two_days_ago.timestamp() * 1_000)
    later = read_past(cloudwatch, [age, failures], now - minutes(35), now)
    assert [point.value for point in later[age]] == [900]
    assert failures not in later


def test_the_past_reaches_back_to_the_last_proof_and_fifteen_days_at_most() -> None:
    proof = Agreement(LABEL, NOW - 86_400_000)
    assert past_since(proof, NOW) == datetime.fromtimestamp(NOW / 1_000, UTC) - timedelta(days=1)
    for earlier in (None, Agreement(LABEL, 0)):
        assert past_since(earlier, NOW) == datetime.fromtimestamp(NOW / 1_000, UTC) - LONGEST


def test_ages_of_messages_are_told_in_their_own_unit() -> None:
    points = [Point(NOW, 5.0), Point(NOW + 1_000, 12.0), Point(NOW + 9_000, 13.0)]
    assert late_since_ms(points, 12_000, unit_ms=1_000) == NOW - 11_000
    assert late_since_ms([], 1.0) is None
    assert failed_since_ms([Point(NOW, 0.0)]) is None


def test_without_its_settings_status_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for name in ("SLUICE_QUEUE_URL", "SLUICE_ELASTICSEARCH_URL", "SLUICE_TABLES"):
        assert f"{name} is not set" in said


# Port 9 is the discard service: nothing listens there.
NOWHERE = "http://127.0.0.1:9"
NOBODY = {
    "SLUICE_QUEUE_URL": f"{NOWHERE}/1/sluice",
    "SLUICE_DEAD_LETTER_URL": f"{NOWHERE}/1/dead",
    "SLUICE_ELASTICSEARCH_URL": NOWHERE,
    "SLUICE_TABLES": "examples.plain.tables",
    "AWS_ENDPOINT_URL": NOWHERE,
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}


def test_status_with_nothing_running_is_red_and_no_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["status"]) == 1
    shown = capsys.readouterr()
    assert "→ check SLUICE_ELASTICSEARCH_URL" in shown.out
    assert "RED  workers unknown: Elasticsearch does not answer" in shown.out
    assert "RED  queue, dead letters" in shown.out or "queue, retention, dead letters" in shown.out
    assert "RED  table unknown: cannot describe the table" in shown.out
    assert "Traceback" not in shown.out + shown.err


@pytest.mark.parametrize(("settings", "colour"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_red_is_red_on_a_terminal_unless_no_color_is_set(
    settings: dict[str, str], colour: bool
) -> None:
    ours, theirs = pty.openpty()
    try:
        run = subprocess.Popen(
            [sys.executable, "-m", "console", "status"],
            env={**os.environ, **NOBODY, "TERM": "xterm-256color", **settings},
            cwd=Path(__file__).parents[2],
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        )
    finally:
        os.close(theirs)
    shown = _read_terminal(ours)
    assert run.wait(30) == 1
    assert b"RED" in shown
    assert (b"\x1b[31m" in shown) is colour


def _read_terminal(descriptor: int) -> bytes:
    parts = []
    try:
        while part := os.read(descriptor, 65_536):
            parts.append(part)
    except OSError:  # Linux says so when the other end is closed
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts)
