"""Messages of every version ever shipped are still read as they were meant.

The files were written once, by the release that first shipped their version, and are never edited:
messages like them may still wait in somebody's queue. A new version adds files.
"""

import base64
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from producer.contract import (
    CHANGES_TASK,
    RECORD_TASK,
    VERSION,
    Change,
    Chunk,
    Overflow,
    decode_chunk,
    decode_record,
    read_images,
    read_payload,
)

FILES = sorted((Path(__file__).parent / "golden").glob("*.json"))
GOLDEN: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in FILES}


def expect(golden: dict[str, Any]) -> Chunk:
    changes = [
        Change(
            **change
            | ({"overflow": Overflow(**change["overflow"])} if "overflow" in change else {})
        )
        for change in golden["changes"]
    ]
    return Chunk(golden["table"], golden["stream"], tuple(changes), golden.get("handler"))


def open_envelope(body: str) -> tuple[str, object]:
    """Task and argument, as Celery's message protocol 2 places them."""
    envelope = json.loads(body)
    ((argument,), keywords, embed) = json.loads(envelope["body"])
    assert (keywords, embed) == ({}, {})
    assert envelope["properties"]["delivery_info"] == {"exchange": "", "routing_key": "changes"}
    return envelope["headers"]["task"], argument


@pytest.mark.parametrize("name", [name for name in GOLDEN if "chunk" in GOLDEN[name]])
def test_a_golden_chunk_decodes_to_what_it_was(name: str) -> None:
    task, payload = open_envelope(GOLDEN[name]["body"])
    assert task == GOLDEN[name]["task"] == CHANGES_TASK
    assert decode_chunk(payload) == expect(GOLDEN[name]["chunk"])


@pytest.mark.parametrize("name", [name for name in GOLDEN if "record" in GOLDEN[name]])
def test_a_golden_record_decodes_to_what_it_was(name: str) -> None:
    task, payload = open_envelope(GOLDEN[name]["body"])
    assert task == GOLDEN[name]["task"] == RECORD_TASK
    assert decode_record(payload) == GOLDEN[name]["record"]


@pytest.mark.parametrize("name", [name for name in GOLDEN if "object" in GOLDEN[name]])
def test_a_golden_overflow_object_gives_back_its_images(name: str) -> None:
    golden = GOLDEN[name]
    change = Change("MODIFY", {"id": {"S": "1"}}, 0, "1", overflow=Overflow("key", 1))
    change = read_images(change, base64.b64decode(golden["object"]))
    assert (change.new, change.old) == (golden["new"], golden["old"])


def test_the_version_written_today_has_golden_messages_of_every_kind() -> None:
    today = [golden for golden in GOLDEN.values() if golden["version"] == VERSION]
    for field in ("chunk", "record", "object"):
        assert any(field in golden for golden in today)


def test_the_version_written_today_has_a_golden_message_with_every_field() -> None:
    chunks = [
        golden["chunk"]
        for golden in GOLDEN.values()
        if golden["version"] == VERSION and "chunk" in golden
    ]
    written = {name for chunk in chunks for name in chunk}
    assert written == {field.name for field in fields(Chunk)}
    written = {name for chunk in chunks for change in chunk["changes"] for name in change}
    assert written == {field.name for field in fields(Change)}


def test_a_golden_message_is_of_the_version_that_its_name_says() -> None:
    for name, golden in GOLDEN.items():
        assert name.startswith(f"v{golden['version']}-")
        if "body" in golden:
            _, payload = open_envelope(golden["body"])
            assert str(payload).startswith(f"{golden['version']}:")
            assert read_payload(payload)
