"""Backfill on real services: beside live traffic, killed and resumed, twice, from an export."""

import base64
import gzip
import hashlib
import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.comparison import read_live
from tests.polling import wait_for
from tests.upkeep.pipeline import HEAVY, LIGHT, Run, beside, polling
from worker.wire import to_wire

pytestmark = pytest.mark.services


def edit(run: Run) -> Any:
    """A writer: puts, overwrites and deletes at random until told to stop."""

    def work(stop: threading.Event) -> None:
        rng = random.Random(threading.get_ident())
        table = boto3.session.Session().resource("dynamodb").Table(run.items.name)
        while not stop.is_set():
            key = {"id": f"item-{rng.randrange(700)}"}
            if rng.random() < 0.3:
                table.delete_item(Key=key)
            else:
                table.put_item(Item={**key, "title": f"edited {rng.random()}"})

    return work


@HEAVY
def test_in_the_middle_of_live_traffic_with_deletes_and_twice_the_index_equals_the_table(
    run: Run,
) -> None:
    run.create(run.items)
    run.put(run.items, *({"id": f"item-{n}", "title": f"old {n}"} for n in range(600)))
    run.put(run.items, {"id": "large", "blob": random.Random(1).randbytes(290_000)})
    trigger = run.follow(run.stream(run.items, on=True))
    for _ in range(2):
        run.workers.start()
    with polling(trigger), beside(edit(run), threads=3):
        wait_for("live changes", lambda: trigger.counters.read > 100)
        first = run.sluice_json("backfill", run.items.name, "--segments", "4", "--rcu", "30")
        second = run.sluice_json("backfill", run.items.name, "--segments", "3")
    run.drain(trigger)
    assert run.differences(run.items) == {}
    assert first["objects"] == 1
    assert first["read"] == first["sent"] > 300
    assert second["read"] == second["sent"] > 300
    for n in range(0, 700, 2):
        run.resource.Table(run.items.name).delete_item(Key={"id": f"item-{n}"})
    run.drain(trigger)
    run.put(run.items, {"id": "large", "n": 1})
    third = run.sluice_json("backfill", run.items.name, "--wait")
    assert third["read"] == third["applied"] + third["obsolete"] == len(run.read_table(run.items))
    assert run.differences(run.items) == {}
    assert run.queues.drain_dead() == []
    assert run.failures == []


def is_newer(place: Path, before: int) -> bool:
    return saved_at(place) > before


def saved_at(place: Path) -> int:
    return place.stat().st_mtime_ns if place.exists() else 0


@dataclass(frozen=True)
class Place:
    """Where a backfill keeps its checkpoint: in a file, or in the overflow bucket."""

    run: Run
    file: Path | None

    def __str__(self) -> str:
        return str(self.file or f"s3://{self.run.name}/checkpoints/backfill")

    def read(self) -> bytes | None:
        if self.file is not None:
            return self.file.read_bytes() if self.file.exists() else None
        try:
            answer = self.run.s3.get_object(Bucket=self.run.name, Key="checkpoints/backfill")
        except self.run.s3.exceptions.NoSuchKey:
            return None
        content: bytes = answer["Body"].read()
        return content

    def has_changed(self, before: bytes | None) -> bool:
        return self.read() != before


@LIGHT
@pytest.mark.parametrize("kept", ["in a file", "in the bucket"])
def test_killed_at_any_instant_and_resumed_it_misses_nothing(
    kept: str, run: Run, tmp_path: Path
) -> None:
    run.create(run.items)
    # Of 1 KB, a quarter of a unit: a dozen seconds of reading, to be killed in thrice.
    run.put(run.items, *({"id": f"item-{n}", "title": "x" * 1_000} for n in range(900)))
    place = Place(run, tmp_path / "checkpoint" if kept == "in a file" else None)
    command = (
        "backfill", run.items.name, "--segments", "3", "--rcu", "20", "--checkpoint",
        str(place), "--json",
    )  # fmt: skip
    rng = random.Random(11)
    kills = 0
    while True:
        before = place.read()
        process = run.spawn(*command)
        if kills < 3:
            wait_for("it to begin", partial(place.has_changed, before), every=0.01)
            time.sleep(rng.uniform(0, 0.8))  # a random instruction to die at
            process.send_signal(signal.SIGKILL)
            kills += 1
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err
    summary = json.loads(out)
    assert summary["read"] == summary["sent"] == 900
    assert place.read() is None
    run.workers.start()
    run.drain()
    assert run.differences(run.items) == {}
    assert (summary["resumed"], kills) == (True, 3)


@LIGHT
def test_killed_while_it_waits_for_the_workers_it_goes_on_waiting(run: Run, tmp_path: Path) -> None:
    run.create(run.items)
    run.put(run.items, *({"id": f"item-{n}"} for n in range(30)))
    place = tmp_path / "checkpoint"
    command = ("backfill", run.items.name, "--wait", "--checkpoint", str(place))
    process = run.spawn(*command)
    try:
        wait_for(
            "everything to be sent",
            lambda: (
                is_newer(place, 0)
                and '"done": false' not in place.read_text()
                and run.queues.depth()
            ),
        )
    finally:
        process.kill()
        process.communicate()
    sent = run.queues.depth()
    run.workers.start()
    summary = run.sluice_json(*command)
    assert sent > 0
    assert (summary["read"], summary["read_here"], summary["applied"]) == (30, 0, 30)
    assert not place.exists()
    assert run.differences(run.items) == {}


@LIGHT
def test_hosts_that_share_the_segments_send_the_whole_table_together(run: Run) -> None:
    run.create(run.shown)
    run.put(
        run.shown,
        *({"owner": f"o{n % 7}", "id": f"i{n}", "secret": n % 3 == 0} for n in range(60)),
    )
    place = f"s3://{run.name}/backfill"
    sent = [
        run.sluice_json(
            "backfill", run.shown.name, "--segments", "5", "--share", f"{k}/2",
            "--checkpoint", place,
        )["sent"]
        for k in (1, 2)
    ]  # fmt: skip
    assert sum(sent) == 60
    run.workers.start()
    run.drain()
    assert run.differences(run.shown) == {}
    assert len(read_live(run.cluster, run.shown)) == 40
    assert run.s3.list_objects_v2(Bucket=run.name, Prefix="backfill").get("KeyCount", 0) == 0


def export(run: Run, folder: str, **changed: Any) -> str:
    """An export of the table as AWS writes it; answers where it lies."""
    described = run.dynamodb.describe_table(TableName=run.items.name)["Table"]
    pages = run.dynamodb.get_paginator("scan").paginate(TableName=run.items.name)
    items = [to_wire(item) for page in pages for item in page["Items"]]
    entries = []
    for number, part in enumerate((items[::2], items[1::2], [])):
        lines = "".join(json.dumps({"Item": item}) + "\n" for item in part)
        content = gzip.compress(lines.encode())
        key = f"{folder}/data/part{number}.json.gz"
        run.s3.put_object(Bucket=run.name, Key=key, Body=content)
        md5 = base64.b64encode(hashlib.md5(content).digest()).decode()  # noqa: S324 - as AWS does
        entries.append({"itemCount": len(part), "md5Checksum": md5, "dataFileS3Key": key})
    summary = {
        "version": "2020-06-30",
        "exportArn": f"{described['TableArn']}/export/01-{folder.rpartition('/')[2]}",
        "tableArn": described["TableArn"],
        "exportTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "itemCount": len(items),
        "outputFormat": "DYNAMODB_JSON",
        **changed,
    }
    files = "".join(json.dumps(entry) + "\n" for entry in entries)
    for name, text in (("manifest-summary", json.dumps(summary)), ("manifest-files", files)):
        checksum = base64.b64encode(hashlib.md5(text.encode()).digest())  # noqa: S324 - as AWS does
        run.s3.put_object(Bucket=run.name, Key=f"{folder}/{name}.json", Body=text)
        run.s3.put_object(Bucket=run.name, Key=f"{folder}/{name}.md5", Body=checksum)
    return f"s3://{run.name}/{folder}"


@LIGHT
def test_an_export_is_as_good_as_the_table_and_a_wrong_one_is_refused(run: Run) -> None:
    run.create(run.items)
    kinds = {"number": 7, "binary": b"\x00\xff", "set": {"b", "a"}, "map": {"x": [1, None, 2]}}
    run.put(run.items, *({"id": f"item-{n}", **kinds} for n in range(40)))
    place = export(run, "AWSDynamoDB/good")
    run.workers.start()
    code, out, err = run.sluice(
        "backfill", run.items.name, "--from-export", place, "--wait", "--json"
    )
    assert (code, "no stream" in err, f"sluice verify {run.items.name}" in err) == (0, True, True)
    summary = json.loads(out)
    assert (summary["read"], summary["applied"], summary["units"]) == (40, 40, 0)
    assert run.differences(run.items) == {}

    other = "arn:aws:dynamodb:us-east-1:123456789012:table/other"
    wrong = {
        "not of arn": export(run, "AWSDynamoDB/other", tableArn=other),
        "INCREMENTAL_EXPORT": export(run, "AWSDynamoDB/inc", exportType="INCREMENTAL_EXPORT"),
        "in ION": export(run, "AWSDynamoDB/ion", outputFormat="ION"),
        "different number": export(run, "AWSDynamoDB/count", itemCount=41),
        "cannot read": f"s3://{run.name}/nothing",
        "no address": "somewhere",
    }
    damaged = export(run, "AWSDynamoDB/damaged")
    key = "AWSDynamoDB/damaged/data/part1.json.gz"
    run.s3.put_object(Bucket=run.name, Key=key, Body=gzip.compress(b"{}\n"))
    wrong["part1.json.gz is damaged"] = damaged
    no_md5 = base64.b64encode(b"0" * 16)
    for name in ("manifest-summary", "manifest-files"):
        wrong[f"{name}.json is damaged"] = export(run, f"AWSDynamoDB/{name}")
        key = f"AWSDynamoDB/{name}/{name}.md5"
        run.s3.put_object(Bucket=run.name, Key=key, Body=no_md5)
    for words, url in wrong.items():
        code, out, err = run.sluice("backfill", run.items.name, "--from-export", url)
        assert (code, out) == (2, ""), (words, code, out, err)
        assert words in err
        assert "Traceback" not in err


def other_queue(run: Run) -> str:
    """A queue that nobody's dead letters go to."""
    return str(run.queues.client.create_queue(QueueName=f"{run.name}-other")["QueueUrl"])


@LIGHT
def test_bad_input_is_a_clear_error_and_sends_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = run.items.name
    code, _, err = run.sluice("backfill", "no-such-table")
    assert (code, "no table 'no-such-table' is declared" in err) == (2, True)
    code, _, err = run.sluice("backfill", name)
    assert (code, "ResourceNotFoundException" in err) == (2, True)
    run.create(run.items)
    run.put(run.items, *({"id": f"item-{n}"} for n in range(5)))
    half = tmp_path / "half"
    half.write_text('{"sluice": "checkpoint", "version": 1, "job": {"comm')
    code, _, err = run.sluice("backfill", name, "--checkpoint", str(half))
    assert (code, "half of one" in err) == (2, True)
    code, out, err = run.sluice("verify", name, "--settle", "0", "--patience", "20")
    assert (code, "5 missing" in out, err) == (1, True, "")
    code, _, err = run.sluice("backfill", name, "--checkpoint", f"{tmp_path}/no/such/folder")
    assert (code, "cannot write the checkpoint" in err) == (2, True)
    code, _, err = run.sluice("backfill", name, "--share", "3/2")
    assert (code, "--share" in err) == (2, True)
    with monkeypatch.context() as patch:
        patch.setenv("SLUICE_QUEUE_URL", run.queues.url + "-gone")
        code, _, err = run.sluice("backfill", name)
    assert (code, "queue" in err) == (2, True)
    for url, dead in ((run.queues.dead_url, run.queues.url), (run.queues.url, other_queue(run))):
        for command in ("backfill", "repair"):
            with monkeypatch.context() as patch:
                patch.setenv("SLUICE_QUEUE_URL", url)
                patch.setenv("SLUICE_DEAD_LETTER_URL", dead)
                code, _, err = run.sluice(command, name)
            assert (code, "check SLUICE_QUEUE_URL" in err) == (2, True), err
    assert run.queues.depth(run.queues.dead_url) == 0
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        patch.setenv("HOME", os.fspath(tmp_path))
        code, _, err = run.sluice("backfill", name)
    assert (code, "no AWS credentials" in err) == (2, True)
    assert run.queues.depth() == 0


@LIGHT
def test_a_backfill_waits_while_the_queue_is_deep(run: Run, tmp_path: Path) -> None:
    run.create(run.items)
    run.put(run.items, *({"id": f"item-{n}"} for n in range(30)))
    run.queues.send(["filler"] * 8)
    begun = tmp_path / "begun"
    options = ("--max-queue", "5", "--checkpoint", str(begun), "--json")
    process = run.spawn("backfill", run.items.name, *options)
    try:
        wait_for("the command to begin", lambda: process.poll() is not None or begun.exists())
        time.sleep(2)  # longer than the rest of a backfill takes: nothing may be sent in it
        assert process.poll() is None
        assert run.queues.depth() == 8
        run.queues.client.purge_queue(QueueUrl=run.queues.url)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["sent"] == 30
    assert summary["yielded_s"] > 0.5
