"""A backfill from an export that is killed at any step goes on, and sends every item."""

import base64
import gzip
import hashlib
import io
import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from console.backfill import export
from console.backfill.export import open_export
from console.backfill.run import Backfill, Summary
from console.checkpoint import Journal, Share
from console.persistence import Persistence
from console.sending import Depth, Gate, open_outlet
from console.session import TableFacts
from producer.settings import Settings
from tests.fakes import FakeSQS

ARN = "arn:aws:dynamodb:us-east-1:1:table/posts"
FOLDER = "AWSDynamoDB/01"
EXPORTED_MS = 1_700_000_000_000
SIZES = (25, 0, 31)


class Bucket:
    """S3 with an export."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        entries, first = [], 0
        for number, size in enumerate(SIZES):
            items = [{"id": {"S": f"{n:03}"}} for n in range(first, first + size)]
            first += size
            content = gzip.compress(
                b"".join(json.dumps({"Item": i}).encode() + b"\n" for i in items)
            )
            md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
            key = f"{FOLDER}/data/part{number}.json.gz"
            self.objects[key] = content
            entries.append({"itemCount": size, "md5Checksum": md5, "dataFileS3Key": key})
        summary = {
            "exportArn": f"{ARN}/export/01",
            "tableArn": ARN,
            "exportTime": "2023-11-14T22:13:20.000Z",
            "itemCount": sum(SIZES),
            "outputFormat": "DYNAMODB_JSON",
        }
        self.objects[f"{FOLDER}/manifest-summary.json"] = json.dumps(summary).encode()
        files = "".join(json.dumps(entry) + "\n" for entry in entries)
        self.objects[f"{FOLDER}/manifest-files.json"] = files.encode()

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Key}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}


class Store:
    """A checkpoint in memory, and a kill after so many saves."""

    def __init__(self, saves: int) -> None:
        self.content: bytes | None = None
        self.saves = saves

    def load(self) -> bytes | None:
        return self.content

    def save(self, content: bytes) -> None:
        if not self.saves:
            raise KeyboardInterrupt
        self.saves -= 1
        self.content = content

    def remove(self) -> None:
        self.content = None


SENDING = Settings("http://sqs/1/queue", "http://sqs/1/dead", "bucket")


def backfill(queue: FakeSQS, store: Store) -> Summary:
    bucket: Any = Bucket()
    sqs: Any = queue
    stop = threading.Event()
    facts = TableFacts(ARN, "", ("id",), 0, None, "", None, False, None, None)
    source = open_export(bucket, f"s3://bucket/{FOLDER}", facts, Persistence())
    journal = Journal(source.job, store, lambda: 5, every_s=0)
    outlet = open_outlet(SENDING, sqs, sqs, stop)
    gate = Gate(lambda: Depth(0, 0, 0), 10, stop)
    return Backfill("posts", source, outlet, gate, journal, Share(), stop, lambda: 9).run()


@pytest.mark.parametrize("saves", range(1, 9))
def test_killed_at_any_step_the_next_run_sends_the_rest_at_the_time_of_the_export(
    saves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "STEP_ITEMS", 10)
    queue, store = FakeSQS(), Store(saves)
    with pytest.raises(KeyboardInterrupt):
        backfill(queue, store)
    before = len(queue.changes(SENDING.queue_url))
    store.saves = 10**9
    summary = backfill(queue, store)
    names = [change.key["id"]["S"] for change in queue.changes(SENDING.queue_url)]
    assert set(names) == {f"{n:03}" for n in range(sum(SIZES))}
    # A step of each of the files that were in work may be sent twice, and no more.
    assert len(names) <= sum(SIZES) + 10 * len(SIZES)
    assert (summary.read, summary.sent, summary.resumed) == (sum(SIZES), sum(SIZES), True)
    assert summary.read_here == len(queue.changes(SENDING.queue_url)) - before
    assert {change.at for change in queue.changes(SENDING.queue_url)} == {EXPORTED_MS}
