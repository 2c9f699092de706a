"""A gap outlasts its cause, and what Lambda gave up on is found wherever its trigger puts it.

On moto alone: an account with a table, a trigger, a bucket, a queue, and what CloudWatch remembers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from console.session import Session
from console.status.command import look
from worker.cluster import Answer

NAME = "notes"
ENVIRONMENT = {
    "SLUICE_DEAD_LETTER_URL": "http://sqs/1/dead",
    "SLUICE_ELASTICSEARCH_URL": "http://es",
    "SLUICE_TABLES": "examples.plain.tables",
    "AWS_REGION": "eu-west-1",
}
DAY_MS = 86_400_000


@dataclass
class Index:
    """An empty index, proven equal to its table at some time; as Elasticsearch answers for it."""

    agreed: dict[str, Any] | None = None

    def request(self, _: str, path: str, **__: Any) -> Answer:
        name = f"{NAME}-v1"
        meta = {"sluice": {"agreed": self.agreed}}
        answer: Any = {"hits": {"hits": [], "total": {"value": 0}}, "count": 0}
        answer["aggregations"] = {
            "states": {"buckets": []},
            "newest": {},
            "labels": {"buckets": []},
        }
        if "_alias" in path:
            answer = {name: {"aliases": {f"{NAME}-write": {}}}}
        elif path == f"/{name}":
            answer = {
                name: {
                    "aliases": {NAME: {}},
                    "mappings": {"_meta": meta},
                    "settings": {"index": {}},
                }
            }
        return Answer(200, answer)


@dataclass
class Account:
    """What stands in the account; CloudWatch knows nothing yet."""

    queue: str
    index: Index
    uuid: str = ""

    def make_trigger(self, destination: str = "", **more: Any) -> None:
        role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]
        client = boto3.client("lambda")
        function = client.create_function(
            FunctionName="producer",
            Runtime="python3.12",
            Role=role["Arn"],
            Handler="producer.handler.handler",
            Code={"ZipFile": b""},
        )
        table = boto3.client("dynamodb").describe_table(TableName=NAME)["Table"]
        if destination:
            more["DestinationConfig"] = {"OnFailure": {"Destination": destination}}
        made = client.create_event_source_mapping(
            EventSourceArn=table["LatestStreamArn"],
            FunctionName=function["FunctionArn"],
            StartingPosition="TRIM_HORIZON",
            FunctionResponseTypes=["ReportBatchItemFailures"],
            **more,
        )
        self.uuid = made["UUID"]

    def remember(self, namespace: str, metric: str, ago: timedelta, value: float) -> None:
        name, of = ("QueueName", "sluice") if "SQS" in namespace else ("FunctionName", "producer")
        data: Any = {
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": of}],
            "Timestamp": datetime.now(UTC) - ago,
            "Value": value,
        }
        boto3.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[data])

    def see(self, **settings: str) -> list[tuple[str, str]]:
        """What status says of the table, and what to do."""
        session = Session({**ENVIRONMENT, "SLUICE_QUEUE_URL": self.queue, **settings})
        vars(session)["cluster"] = self.index
        seen = look(session, list(session.tables.values()), None, peek=False)
        return [(sign.what, sign.remedy) for sign in seen.signs[1]]

    def prove(self, ago: timedelta) -> None:
        at = datetime.now(UTC) - ago
        self.index.agreed = {"label": "l", "at": round(at.timestamp() * 1_000)}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName=NAME,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        bucket: Any = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3").create_bucket(Bucket="failures", CreateBucketConfiguration=bucket)
        queue = boto3.client("sqs").create_queue(
            QueueName="sluice", Attributes={"MessageRetentionPeriod": "1209600"}
        )
        yield Account(queue["QueueUrl"], Index())


PAST = [
    ("AWS/Lambda", "IteratorAge", 86_000_000.0, "the producer has caught up"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", 1_200_000.0, "forgotten by its queue"),
    ("AWS/Lambda", "DestinationDeliveryFailures", 2.0, "could not keep them"),
]


@pytest.mark.parametrize(("namespace", "metric", "value", "word"), PAST)
def test_a_gap_stays_after_its_cause_has_ended_until_index_and_table_agree(
    account: Account, namespace: str, metric: str, value: float, word: str
) -> None:
    account.make_trigger("arn:aws:s3:::failures")
    assert account.see() == []
    account.remember(namespace, metric, timedelta(days=3), value)
    ((what, remedy),) = account.see()
    assert what.startswith("repair needed since")
    assert (word in what, remedy) == (True, f"sluice repair {NAME}")
    account.prove(timedelta(days=4))
    assert account.see()
    account.prove(timedelta(days=2))
    assert account.see() == []


def put_failure(account: Account) -> None:
    failure = {
        "timestamp": "2026-01-02T03:04:05Z",
        "requestContext": {"condition": "RetryAttemptsExhausted"},
        "DDBStreamBatchInfo": {"shardId": "s"},
        "payload": json.dumps({"Records": [{"eventID": "1"}]}),
    }
    boto3.client("s3").put_object(
        Bucket="failures", Key=f"aws/lambda/{account.uuid}/s/1", Body=json.dumps(failure).encode()
    )


def test_what_lambda_gave_up_on_is_found_by_the_destination_of_its_trigger(
    account: Account,
) -> None:
    account.make_trigger("arn:aws:s3:::failures")
    put_failure(account)
    ((what, remedy),) = account.see()
    assert what.startswith("repair needed since 2026-01-02T03:04:05Z: Lambda gave up on 1 batches")
    assert remedy.startswith("SLUICE_ON_FAILURE_BUCKET=failures sluice dead-letters lambda")
    # Where the settings name that bucket, the pipeline tells of it, and the table does not.
    assert account.see(SLUICE_ON_FAILURE_BUCKET="failures") == []


@pytest.mark.parametrize(
    "limit", [{"MaximumRetryAttempts": 3}, {"MaximumRecordAgeInSeconds": 3_600}]
)
def test_a_trigger_that_gives_up_and_tells_nobody_is_a_gap(
    account: Account, limit: dict[str, Any]
) -> None:
    account.make_trigger(**limit)
    ((what, _),) = account.see()
    assert "gives up on records and keeps no copy" in what
