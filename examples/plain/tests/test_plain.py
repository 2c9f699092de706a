"""Notes from the table to the index, without a model: each item is its document."""

from decimal import Decimal
from typing import Any

import pytest

from examples.plain.tables import notes
from kit.pipeline import Pipeline, Pipelines


@pytest.fixture
def pipeline(sluice_pipeline: Pipelines) -> Pipeline[dict[str, Any]]:
    return sluice_pipeline(notes, key="id")


def test_every_attribute_is_indexed_as_it_is(pipeline: Pipeline[dict[str, Any]]) -> None:
    pipeline.put(
        {
            "id": "a",
            "text": "Water rises.",
            "views": 7,
            "exact": 12345678901234567890123456789012345678,
            "share": Decimal("0.1"),
            "seal": b"\x00\xff",
            "tags": {"b", "a"},
            "nested": {"list": [1, None, 2], "empty": {}},
            "none": None,
        }
    )
    assert pipeline.document("a") == {
        "id": "a",
        "text": "Water rises.",
        "views": 7,
        "exact": "12345678901234567890123456789012345678",
        "share": 0.1,
        "seal": "AP8=",
        "tags": ["a", "b"],
        "nested": {"list": [1, None, 2], "empty": {}},
        "none": None,
    }


def test_the_index_follows_edits_and_deletes(pipeline: Pipeline[dict[str, Any]]) -> None:
    pipeline.put({"id": "a", "text": "first"})
    pipeline.put({"id": "a", "text": "second"})
    pipeline.put({"id": "b", "text": "other"})
    pipeline.delete("b")
    assert pipeline.documents() == {"a": {"id": "a", "text": "second"}}


def test_a_deleted_note_stays_deleted_whatever_comes_late(
    pipeline: Pipeline[dict[str, Any]],
) -> None:
    pipeline.put({"id": "a", "text": "first"})
    pipeline.put({"id": "a", "text": "second"})
    pipeline.delete("a")
    pipeline.deliver(shuffled=True, twice=True)
    pipeline.replay()
    assert pipeline.documents() == {}
