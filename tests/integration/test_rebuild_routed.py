"""A rebuild of a table with routing, and with items that travel through S3."""

import importlib
import random
from typing import Any

import pytest

from tests.upkeep import tables as declared
from tests.upkeep.pipeline import HEAVY, Run

pytestmark = pytest.mark.services

LARGE = 300_000
"""Bytes of an image that no message can carry."""


def make_item(number: int, title: str, size: int = 0) -> dict[str, Any]:
    item = {"owner": f"o{number % 5}", "id": f"i{number}", "title": title}
    blob = {"blob": random.Random(number).randbytes(size)} if size else {}
    return {**item, **blob, "secret": number % 7 == 0}


def deploy(run: Run, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Declare another version, here and in the workers."""
    monkeypatch.setenv("UPKEEP_DEPLOYED", str(version))
    importlib.reload(declared)
    before = list(run.workers.running)
    run.workers.start(UPKEEP_DEPLOYED=str(version))
    for worker in before:
        run.workers.kill(worker)


@HEAVY
def test_a_rebuild_keeps_routing_and_brings_images_from_s3_along(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = run.shown.name
    run.create(run.shown, stream=True)
    trigger = run.follow(run.dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"])
    run.workers.start()
    run.put(run.shown, *(make_item(n, f"old title {n}") for n in range(40)))
    run.put(run.shown, *(make_item(n, "old and large", LARGE) for n in range(40, 43)))
    for number in (1, 2, 40):
        key = {"owner": f"o{number % 5}", "id": f"i{number}"}
        run.resource.Table(name).delete_item(Key=key)
    run.drain(trigger)
    assert run.s3.list_objects_v2(Bucket=run.name)["KeyCount"] >= 3
    assert run.differences(run.shown) == {}

    deploy(run, monkeypatch, 2)
    said = run.sluice_json("rebuild", name, "start", "--segments", "3")
    assert (said["phase"], said["parts"]) == ("copying", 3)
    run.put(run.shown, make_item(41, "new and large", LARGE), make_item(50, "new", LARGE))
    run.put(run.shown, make_item(3, "now large", LARGE), make_item(1, "here again"))
    run.resource.Table(name).delete_item(Key={"owner": "o2", "id": "i42"})
    run.drain(trigger)
    halves = [
        run.sluice_json("rebuild", name, "run", "--share", f"{k}/2", "--page", "5") for k in (1, 2)
    ]
    assert [half["phase"] for half in halves] == ["copying", "verified"]
    said = run.sluice_json("rebuild", name)
    assert (said["phase"], said["served"]) == ("swapped", declared.shown.index_name(2))
    run.drain(trigger)
    assert run.differences(declared.shown) == {}

    run.sluice_json("rebuild", name, "finish")
    run.put(run.shown, make_item(41, "the last of it", LARGE))
    run.resource.Table(name).delete_item(Key={"owner": "o0", "id": "i50"})
    run.drain(trigger)
    assert run.differences(declared.shown) == {}
    assert run.sluice_json("verify", name, "--settle", "0", "--content")["agrees"]
    assert run.queues.drain_dead() == []
    assert run.failures == []
