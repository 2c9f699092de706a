"""`sluice dead-letters` on real queues: it finds, moves and keeps letters, and loses none."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from console import cli
from console.deadletters.filters import Filter
from console.deadletters.queue import open_pair
from console.deadletters.redrive import Choice, Purge
from console.deadletters.sweep import Sweep
from producer.contract import (
    FIRST_ATTRIBUTE,
    RECORD_TASK,
    Change,
    Chunk,
    decode_chunk,
    encode_chunk,
    encode_record,
    queue_name,
    write_attributes,
    write_envelope,
)
from tests.polling import wait_for
from tests.services.engines import Engine
from tests.workers import CREDENTIALS, REGION, ROOT, Queues, connect_sqs
from worker.errors import UnavailableError
from worker.incoming import Call, read_body

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/{table}/stream/2024-01-01T00:00:00.000"
SECRET = "only-show-may-print-this"
PATIENCE = ("--wait", "15")


def change_body(queues: Queues, id: str, table: str = "posts") -> str:
    item = {"id": {"S": id}, "title": {"S": SECRET}}
    change = Change("INSERT", {"id": {"S": id}}, 1_700_000_000_000, "1" * 21, new=item)
    chunk = Chunk(table, ARN.format(table=table), (change,))
    return write_envelope(encode_chunk(chunk), queue_name(queues.url))


def record_body(queues: Queues, kind: str, id: str = "1") -> str:
    record = {
        "eventName": kind,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": ARN.format(table="posts"),
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000,
            "Keys": {"id": {"S": id}},
            "NewImage": {"id": {"S": id}},
            "SequenceNumber": "2" * 21,
            "StreamViewType": "NEW_IMAGE",
        },
    }
    return write_envelope(encode_record(record), queue_name(queues.url), RECORD_TASK)


@dataclass
class Desk:
    """A pair of queues, and the command line in front of it."""

    queues: Queues
    environment: dict[str, str]
    capture: pytest.CaptureFixture[str]
    bodies: list[str] = field(default_factory=list)

    def run(self, *arguments: str) -> tuple[int, str]:
        """The command's exit code and what it printed on stdout."""
        self.capture.readouterr()
        code = cli.main(["dead-letters", *arguments])
        output = self.capture.readouterr()
        self.errors = output.err
        return code, output.out

    def read(self, *arguments: str) -> Any:
        code, output = self.run(*arguments, "--json")
        assert code == 0, (output, self.errors)
        return json.loads(output)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The same, as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "console", "dead-letters", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def bury(self, *bodies: str, **said: str) -> None:
        """Dead-letter bodies for the given reason."""
        attributes: Any = write_attributes(**said)
        for start in range(0, len(bodies), 5):
            self.queues.client.send_message_batch(
                QueueUrl=self.queues.dead_url,
                Entries=[
                    {"Id": str(n), "MessageBody": body, "MessageAttributes": attributes}
                    for n, body in enumerate(bodies[start : start + 5])
                ],
            )
        self.bodies += bodies

    def bury_three(self) -> None:
        """Two refusals of one table, and one of another."""
        posts = change_body(self.queues, "a"), change_body(self.queues, "b")
        self.bury(
            *posts,
            error="mapper_parsing_exception",
            reason="failed to parse field [score]",
            table="posts",
            index="posts-write",
            origin="worker",
        )
        self.bury(change_body(self.queues, "c", "users"), error="UnknownTable", reason="no table")

    def visible(self, url: str) -> list[str]:
        """Bodies that another reader can get right now; they are taken out."""
        found: list[str] = []
        while True:
            answer = self.queues.client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            if not answer.get("Messages"):
                return sorted(found)
            for message in answer["Messages"]:
                found.append(message["Body"])
                self.queues.client.delete_message(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
                )

    def s3(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL_S3"],
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def put_object(self, name: str, text: str) -> None:
        bucket = self.environment["SLUICE_ON_FAILURE_BUCKET"]
        self.s3().put_object(Bucket=bucket, Key=name, Body=text.encode())

    def visible_dead(self) -> list[str]:
        return self.visible(self.queues.dead_url)

    def visible_main(self) -> list[str]:
        return self.visible(self.queues.url)


@pytest.fixture
def desk(
    elasticmq: Engine,
    s3: Engine,
    fresh_name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """An empty pair of queues, named by the environment."""
    queues = Queues.create(connect_sqs(elasticmq.url), fresh_name)
    environment = {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_SQS": elasticmq.url,
        "AWS_ENDPOINT_URL_S3": s3.url,
        "SLUICE_QUEUE_URL": queues.url,
        "SLUICE_DEAD_LETTER_URL": queues.dead_url,
        "SLUICE_OVERFLOW_BUCKET": fresh_name,
        "SLUICE_ON_FAILURE_BUCKET": fresh_name,
        "SLUICE_BATCH_BYTES": "262144",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Desk(queues, environment, capsys)


def test_a_listing_tells_keys_and_reasons_but_no_documents_and_hides_nothing(desk: Desk) -> None:
    desk.bury_three()
    found = desk.read("list")
    assert found["complete"]
    said = sorted((m["error"], m["table"], *m["ids"]) for m in found["messages"])
    assert said == [
        ("UnknownTable", "users", "c"),
        ("mapper_parsing_exception", "posts", "a"),
        ("mapper_parsing_exception", "posts", "b"),
    ]
    code, output = desk.run("list")
    assert code == 0
    assert "3 of 3 messages" in output
    assert SECRET not in output + json.dumps(found)
    assert desk.visible_dead() == sorted(desk.bodies)


def test_groups_count_and_filters_choose(desk: Desk) -> None:
    desk.bury_three()
    groups = desk.read("groups")["groups"]
    assert SECRET not in json.dumps(groups)
    assert [(g["count"], g["error"], g["table"]) for g in groups] == [
        (2, "mapper_parsing_exception", "posts"),
        (1, "UnknownTable", "users"),
    ]

    def ids(*arguments: str) -> list[str]:
        return sorted(m["ids"][0] for m in desk.read("list", *arguments)["messages"])

    assert ids("--table", "posts", "--older-than", "0s", "--newer-than", "1h") == ["a", "b"]
    assert ids("--index", "posts-write", "--reason", "SCORE", "--key", "b") == ["b"]
    assert ids("--error", "UnknownTable") == ["c"]


def test_a_listing_of_many_sees_each_once(desk: Desk) -> None:
    desk.bury(*(change_body(desk.queues, f"n{n}") for n in range(130)), error="E", reason="r")
    ids = [message["ids"][0] for message in desk.read("list")["messages"]]
    assert sorted(ids) == sorted(f"n{n}" for n in range(130))
    assert len(desk.visible_dead()) == 130


def test_a_message_that_sqs_moved_is_listed_by_what_it_holds(desk: Desk) -> None:
    desk.queues.send([change_body(desk.queues, "a")])

    def is_moved() -> bool:
        answer = desk.queues.client.receive_message(QueueUrl=desk.queues.url, VisibilityTimeout=0)
        return not answer.get("Messages") and desk.queues.depth(desk.queues.dead_url) == 1

    wait_for("SQS to give up on it", is_moved, seconds=10)
    (message,) = desk.read("list")["messages"]
    assert (message["error"], message["origin"], message["table"]) == (
        "MaxReceives",
        "sqs",
        "posts",
    )
    shown = desk.read("show", message["message"])
    assert (shown["tried"], shown["origin"]) == (5, "sqs")


def test_show_prints_the_document_as_it_would_be_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_TABLES", "tests.integration.letter_tables")
    desk.bury(change_body(desk.queues, "a", "letters"), error="E", reason="the cluster's words")
    (message,) = desk.read("list")["messages"]
    shown = desk.read("show", message["message"])
    assert shown["reason"] == "the cluster's words"
    assert shown["changes"][0]["document"] == {"id": "a", "title": SECRET}
    assert "note" not in shown["changes"][0]
    code, output = desk.run("show", message["message"])
    assert code == 0
    assert SECRET in output
    assert desk.run("show", "no-such-id", "--wait", "0")[0] == cli.MISUSE
    assert len(desk.visible_dead()) == 1


def test_a_redrive_moves_what_the_filter_means_and_leaves_the_reason_behind(desk: Desk) -> None:
    desk.bury_three()
    assert desk.read("redrive", "--table", "posts", "--dry-run")["moved"] == 2
    assert desk.queues.depth() == 0
    result = desk.read("redrive", "--table", "posts")
    assert (result["moved"], result["stayed"]) == (2, [])
    answer = desk.queues.client.receive_message(
        QueueUrl=desk.queues.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )
    assert sorted(m["Body"] for m in answer["Messages"]) == sorted(desk.bodies[:2])
    assert {*answer["Messages"][0]["MessageAttributes"]} == {FIRST_ATTRIBUTE}
    ((body, said),) = desk.queues.drain_dead()
    assert (body, said["sluice-error"]) == (desk.bodies[2], "UnknownTable")


def test_limit_and_rate_bound_a_redrive(desk: Desk) -> None:
    desk.bury(*(change_body(desk.queues, f"n{n}") for n in range(30)), error="E", reason="r")
    started = time.monotonic()
    assert desk.read("redrive", "--limit", "13", "--rate", "10")["moved"] == 13
    assert time.monotonic() - started >= 1.0
    assert sorted(desk.visible_main() + desk.visible_dead()) == sorted(desk.bodies)


def test_a_record_the_producer_can_read_by_now_becomes_a_change(desk: Desk) -> None:
    desk.bury(
        record_body(desk.queues, "INSERT"),
        record_body(desk.queues, "MERGE"),
        error="UnreadableRecord",
    )
    code, output = desk.run("redrive", "--json")
    result = json.loads(output)
    assert (code, result["moved"], result["converted"]) == (cli.WRONG, 1, 1)
    assert "MERGE" in result["stayed"][0]["why"]
    call = read_body(desk.visible_main()[0])
    assert isinstance(call, Call)
    assert decode_chunk(call.payload).changes[0].new == {"id": {"S": "1"}}
    assert desk.visible_dead() == [desk.bodies[1]]


def test_what_is_refused_anew_does_not_keep_a_redrive_going(desk: Desk) -> None:
    """A worker that puts every letter straight back as a new one."""
    desk.bury(*(change_body(desk.queues, f"n{n}") for n in range(10)), error="E", reason="r")
    process = desk.start("redrive", "--rate", "10", "--json")
    returns = 0
    while process.poll() is None:
        for body in desk.visible_main():
            desk.bury(body, error="E", reason="again")
            returns += 1
        assert returns < 60, "the redrive goes round for ever"
        time.sleep(0.05)
    moved = json.loads(process.communicate(timeout=30)[0])["moved"]
    assert 10 <= moved < 60
    assert desk.queues.depth() + desk.queues.depth(desk.queues.dead_url) == 10


def test_killed_at_any_instruction_a_redrive_loses_nothing(desk: Desk) -> None:
    desk.bury(*(change_body(desk.queues, f"n{n}") for n in range(150)), error="E", reason="r")
    process = desk.start("redrive", "--rate", "200")
    wait_for("the redrive to be midway", lambda: desk.queues.depth() >= 20, every=0.01)
    process.kill()
    process.communicate(timeout=10)
    assert desk.queues.depth() < 150
    assert desk.queues.depth() + desk.queues.depth(desk.queues.dead_url) >= 150
    assert desk.run("redrive", *PATIENCE)[0] == 0
    assert set(desk.visible_main()) == set(desk.bodies)


def test_ctrl_c_ends_in_order_and_hides_nothing(desk: Desk) -> None:
    desk.bury(*(change_body(desk.queues, f"n{n}") for n in range(100)), error="E", reason="r")
    process = desk.start("redrive", "--rate", "20")
    wait_for("the redrive to be midway", lambda: desk.queues.depth() >= 20, every=0.01)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=10)[0].decode()
    assert process.returncode == cli.INTERRUPTED, output
    assert "moved to the main queue" in output
    left = desk.visible_dead()
    assert 0 < len(left) < 100
    assert sorted(desk.visible_main() + left) == sorted(desk.bodies)


def test_two_redrives_at_once_move_everything(desk: Desk) -> None:
    desk.bury(*(change_body(desk.queues, f"n{n}") for n in range(200)), error="E", reason="r")
    processes = [desk.start("redrive", "--json", *PATIENCE) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum(json.loads(output)["moved"] for output in outputs) >= 200
    assert set(desk.visible_main()) == set(desk.bodies)
    assert desk.queues.depth(desk.queues.dead_url) == 0


def test_a_purge_keeps_an_archive_that_can_be_imported(desk: Desk, tmp_path: Path) -> None:
    desk.bury_three()
    archive = tmp_path / "archive.jsonl"
    code, output = desk.run("purge", "--table", "posts", "--yes", "--archive", str(archive))
    assert code == 0, output
    assert len(archive.read_text().splitlines()) == 2
    assert archive.stat().st_mode & 0o077 == 0
    assert [m["table"] for m in desk.read("list")["messages"]] == ["users"]
    assert desk.run("import", str(archive))[0] == 0
    letters = desk.queues.drain_dead()
    assert sorted(body for body, _ in letters) == sorted(desk.bodies)
    assert sorted(said["sluice-error"] for _, said in letters) == [
        "UnknownTable",
        "mapper_parsing_exception",
        "mapper_parsing_exception",
    ]


def test_a_purge_asks_and_a_no_deletes_nothing(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.bury_three()
    archive = tmp_path / "archive.jsonl"
    for answer, code, left in (("n\n", cli.INTERRUPTED, 3), ("y\n", cli.FINE, 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        ended, output = desk.run("purge", "--archive", str(archive), "--json")
        assert ended == code
        assert "Delete 3 of 3 messages" in desk.errors
        assert [json.loads(line)["deleted"] for line in output.splitlines()] == [3] * (left == 0)
        assert desk.queues.depth(desk.queues.dead_url) == left
        assert archive.exists() is (left == 0)


def test_an_archive_is_never_written_over(desk: Desk, tmp_path: Path) -> None:
    desk.bury_three()
    archive = tmp_path / "archive.jsonl"
    archive.write_text("old")
    assert desk.run("purge", "--yes", "--archive", str(archive))[0] == cli.MISUSE
    assert desk.run("export", str(archive))[0] == cli.MISUSE
    assert archive.read_text() == "old"
    assert desk.queues.depth(desk.queues.dead_url) == 3


def test_export_and_import_are_inverse(desk: Desk, tmp_path: Path) -> None:
    desk.bury_three()
    desk.queues.client.send_message(
        QueueUrl=desk.queues.dead_url,
        MessageBody="no message of ours\n\u00fc",
        MessageAttributes={"foreign": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
    )
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    purged = tmp_path / "purged"
    exported = desk.read("export", str(first))
    assert exported == {"complete": True, "exported": 4, "file": str(first)}
    assert desk.read("purge", "--yes", "--archive", str(purged)) == {
        "complete": True,
        "deleted": 4,
        "archived_only": 0,
        "archive": str(purged),
    }
    assert desk.queues.depth(desk.queues.dead_url) == 0
    assert desk.read("import", str(first)) == {"complete": True, "imported": 4, "of": 4}
    assert desk.run("export", str(second))[0] == 0
    assert _messages(first) == _messages(second)
    assert len(_messages(first)) == 4
    assert all(FIRST_ATTRIBUTE in message for message in _messages(first))


def _messages(file: Path) -> list[str]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return sorted(json.dumps([line["attributes"], line["body"]], sort_keys=True) for line in lines)


def test_a_broken_file_imports_nothing(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text('{"body":"good"}\n{"body":\n')
    code, _ = desk.run("import", str(file))
    assert code == cli.MISUSE
    assert "line 2" in desk.errors
    assert desk.queues.depth(desk.queues.dead_url) == 0


def test_queues_that_are_no_pair_are_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, fresh_name: str
) -> None:
    desk.bury_three()
    other = Queues.create(desk.queues.client, f"{fresh_name}-other")
    wrong = {
        "another pair's dead letters": (desk.queues.url, other.dead_url),
        "the two swapped": (desk.queues.dead_url, desk.queues.url),
        "a main queue as dead letters": (desk.queues.url, other.url),
        "no such queue": (desk.queues.url, f"{desk.queues.dead_url}x"),
        "one queue for both": (desk.queues.url, desk.queues.url),
    }
    for what, (main, dead) in wrong.items():
        monkeypatch.setenv("SLUICE_QUEUE_URL", main)
        monkeypatch.setenv("SLUICE_DEAD_LETTER_URL", dead)
        for arguments in (["redrive"], ["list"], ["purge", "--yes"], ["lambda", "forward"]):
            assert desk.run(*arguments)[0] == cli.MISUSE, (what, arguments)
            assert desk.errors.startswith("sluice: "), (what, arguments)
    assert desk.visible_dead() == sorted(desk.bodies)


def invocation_record(table: str, *ids: str, kind: str = "INSERT") -> dict[str, Any]:
    """As Lambda writes it to S3; see console/local/invocation.py for the source."""
    records = [
        {
            "eventName": kind,
            "eventSource": "aws:dynamodb",
            "eventSourceARN": ARN.format(table=table),
            "dynamodb": {
                "ApproximateCreationDateTime": 1_700_000_000,
                "Keys": {"id": {"S": name}},
                "NewImage": {"id": {"S": name}, "title": {"S": SECRET}},
                "SequenceNumber": "3" * 21,
                "StreamViewType": "NEW_IMAGE",
            },
        }
        for name in ids
    ]
    return {
        "requestContext": {"requestId": "1", "condition": "RetryAttemptsExhausted"},
        "version": "1.0",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "DDBStreamBatchInfo": {
            "shardId": "shard-1",
            "startSequenceNumber": "3" * 21,
            "endSequenceNumber": "3" * 21,
            "batchSize": len(ids),
            "streamArn": ARN.format(table=table),
        },
        "payload": json.dumps({"Records": records}),
    }


@pytest.fixture
def bucket(desk: Desk, fresh_name: str) -> Callable[[], dict[str, str]]:
    """The on-failure destination with two batches and something else in it."""
    client = desk.s3()
    client.create_bucket(Bucket=fresh_name)
    for name, record in {
        "aws/lambda/1": invocation_record("posts", "a", "b"),
        "aws/lambda/2": invocation_record("users", "c", kind="MERGE"),
        "aws/lambda/3": {"no": "record"},
    }.items():
        desk.put_object(name, json.dumps(record))

    def read() -> dict[str, str]:
        found = client.list_objects_v2(Bucket=fresh_name).get("Contents", [])
        return {one["Key"]: one["ETag"] for one in found}

    return read


def test_what_lambda_gave_up_on_is_listed(desk: Desk, bucket: Callable[[], dict[str, str]]) -> None:
    code, output = desk.run("lambda", "list", "--json")
    found = json.loads(output)
    assert code == cli.WRONG
    assert [(f["object"], f["table"], f["records"]) for f in found["failures"]] == [
        ("aws/lambda/1", "posts", 2),
        ("aws/lambda/2", "users", 1),
    ]
    assert [one["object"] for one in found["unusable"]] == ["aws/lambda/3"]
    assert SECRET not in output + desk.run("lambda", "list")[1]
    assert len(bucket()) == 3


def test_forwarding_sends_the_records_and_then_deletes_the_object(
    desk: Desk, bucket: Callable[[], dict[str, str]]
) -> None:
    assert desk.run("lambda", "forward", "--dry-run")[0] == cli.WRONG
    assert (desk.queues.depth(), len(bucket())) == (0, 3)
    assert desk.run("lambda", "forward", "--table", "posts", "--keep")[0] == 0
    (body,) = desk.visible_main()
    call = read_body(body)
    assert isinstance(call, Call)
    assert [c.key["id"]["S"] for c in decode_chunk(call.payload).changes] == ["a", "b"]
    assert set(bucket()) == {"aws/lambda/2", "aws/lambda/3", "forwarded/aws/lambda/1"}
    assert desk.run("lambda", "forward")[0] == cli.WRONG
    assert set(bucket()) == {"aws/lambda/3", "forwarded/aws/lambda/1"}
    ((_, said),) = desk.queues.drain_dead()
    assert said["sluice-error"] == "UnreadableRecord"


def test_an_object_whose_records_cannot_be_sent_stays(
    desk: Desk, bucket: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records are too large for a message, and the bucket for such is not there."""
    before = bucket()
    monkeypatch.setenv("SLUICE_OVERFLOW_BUCKET", "not-there")
    monkeypatch.setenv("SLUICE_CHUNK_BYTES", "32768")
    noise = random.Random(1).randbytes(40_000).hex()
    record = json.dumps(invocation_record("large", "a")).replace(SECRET, noise)
    desk.put_object("aws/lambda/0", record)
    code, output = desk.run("lambda", "forward", "--table", "large", "--json")
    assert code == cli.WRONG
    assert "NoSuchBucket" in json.loads(output)["stayed"][0]["why"]
    assert set(bucket()) == {*before, "aws/lambda/0"}
    assert desk.queues.depth() == 0


def test_without_an_archive_nothing_is_deleted(desk: Desk) -> None:
    """/dev/full refuses every byte, as a full disk does."""
    desk.bury_three()
    pair = open_pair(desk.queues.client, desk.queues.url, desk.queues.dead_url, 262_144)
    with suppress(OSError), open("/dev/full", "w") as full:  # closing it fails as well
        sweep = Sweep(
            pair,
            Purge(pair, Choice(Filter(), pair.now_ms), full),
            threading.Event(),
            pair.now_ms,
        )
        with pytest.raises(UnavailableError, match="No space"):
            sweep.run()
    assert desk.visible_dead() == sorted(desk.bodies)
