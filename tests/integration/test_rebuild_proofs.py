"""What verify, repair and status say of a table while its index is rebuilt and after that."""

import importlib
import time
from typing import Any

import pytest

from producer.contract import Change, Chunk, encode_chunk, write_envelope
from tests.upkeep import tables as declared
from tests.upkeep.pipeline import LIGHT, Run

pytestmark = pytest.mark.services

BEFORE = "2020-01-01T00:00:00.000"
"""Label of a stream that the table no longer has."""
CONTENT = ("--settle", "0", "--patience", "20", "--content")


def deploy(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Declare another version; nobody writes, so no worker has to know of it."""
    monkeypatch.setenv("UPKEEP_DEPLOYED", str(version))
    importlib.reload(declared)


def fill_under_another_stream(run: Run, *items: dict[str, Any]) -> None:
    """Items whose documents come from a stream that was there before the table's own."""
    name = run.items.name
    run.create(run.items, stream=True)
    run.put(run.items, *items)
    images = run.read_table(run.items)
    an_hour_ago = time.time_ns() // 1_000_000 - 3_600_000
    changes = tuple(
        Change("INSERT", {"id": image["id"]}, an_hour_ago, f"{number + 1}" * 21, new=image)
        for number, image in enumerate(images.values())
    )
    arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}/stream/{BEFORE}"
    run.queues.send([write_envelope(encode_chunk(Chunk(name, arn, changes)), run.name)])
    run.workers.start()
    run.drain()
    for worker in list(run.workers.running):
        run.workers.kill(worker)


def read_gaps(run: Run) -> list[str]:
    (table,) = run.sluice_json("status", run.items.name, "--no-peek", code=1)["tables"]
    return [s["what"] for s in table["signs"] if s["what"].startswith("repair needed")]


@LIGHT
def test_an_index_is_judged_by_its_own_declaration_and_carries_its_proof_through_a_rebuild(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = run.items.name
    fill_under_another_stream(
        run, {"id": "a", "title": "two words"}, {"id": "b", "title": "x", "secret": True}
    )
    (gap,) = read_gaps(run)
    assert "cannot know what was before it" in gap

    def verify(version: int) -> None:
        found = run.sluice_json("verify", name, *CONTENT)
        assert (found["index"], found["noted"]) == (run.items.index_name(version), True)

    deploy(monkeypatch, 2)
    verify(1)
    assert run.sluice_json("repair", name, *CONTENT)["found"] == 0
    assert read_gaps(run) == []
    run.sluice_json("rebuild", name, "start")
    verify(1)
    run.sluice_json("rebuild", name)
    assert read_gaps(run) == []
    run.sluice_json("rebuild", name, "rollback")
    verify(1)
    assert run.sluice_json("repair", name, *CONTENT)["found"] == 0
    run.sluice_json("rebuild", name, "swap")
    run.sluice_json("rebuild", name, "finish")
    assert read_gaps(run) == []
    verify(2)

    deploy(monkeypatch, 1)
    for command in ("verify", "repair"):
        code, _, err = run.sluice(command, name)
        assert (code, "this process declares 1 alone" in err) == (2, True), err
