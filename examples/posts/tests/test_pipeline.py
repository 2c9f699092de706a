"""Posts from the table to the index: the whole way in memory, as an owner tests their mapping."""

from typing import Any

import pytest

from examples.posts import generate
from examples.posts.tables import Paragraph, Post, posts
from kit.pipeline import Pipeline, Pipelines
from kit.records import Records, event
from kit.typed import read_item


@pytest.fixture
def pipeline(sluice_pipeline: Pipelines) -> Pipeline[Post]:
    return sluice_pipeline(posts, key="id")


def locks(**changes: Any) -> Post:
    """A small post, with some fields changed."""
    fields = {
        "id": "p1",
        "title": "Locks",
        "author": "ann",
        "blocks": [Paragraph(type="paragraph", text="Water rises.")],
    }
    return Post(**(fields | changes))


def test_a_post_is_found_by_its_words(pipeline: Pipeline[Post]) -> None:
    pipeline.put(locks(tags={"water", "craft"}))
    document = pipeline.document("p1")
    assert document is not None
    assert document["text"] == "Water rises."
    assert document["tags"] == ["craft", "water"]


def test_an_edit_replaces_the_document_and_a_delete_takes_it_away(
    pipeline: Pipeline[Post],
) -> None:
    pipeline.put(locks())
    pipeline.put(locks(title="Gates"))
    document = pipeline.document("p1")
    assert document is not None
    assert document["title"] == "Gates"
    pipeline.delete("p1")
    assert pipeline.documents() == {}


def test_a_post_that_becomes_a_draft_is_hidden(pipeline: Pipeline[Post]) -> None:
    pipeline.put(locks())
    pipeline.put(locks(status="draft"))
    assert pipeline.document("p1") is None
    assert pipeline.state("p1") == "hidden"


@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_arrival_changes_the_end(pipeline: Pipeline[Post], seed: int) -> None:
    for title in ("One", "Two", "Three", "Four"):
        pipeline.put(locks(title=title))
        pipeline.put(locks(id="p2", title=title))
    pipeline.delete("p2")
    pipeline.deliver(shuffled=True, twice=True, seed=seed)
    assert [document["title"] for document in pipeline.documents().values()] == ["Four"]


def test_a_post_that_the_model_refuses_is_a_dead_letter(pipeline: Pipeline[Post]) -> None:
    pipeline.put({"id": "p1", "author": "ann"})
    pipeline.put(locks(id="p2"))
    (letter,) = pipeline.dead_letters()
    assert (letter.error, letter.id, letter.kind) == ("ValidationError", "p1", "INSERT")
    assert "title: Field required" in letter.reason
    assert set(pipeline.documents()) == {"p2"}


@pytest.mark.parametrize(
    "kind",
    [
        {"S": "poll"},
        {"S": ""},
        {"N": "7"},
        {"BOOL": True},
        {"NULL": True},
        {"B": "AAEC"},
        {"SS": ["paragraph", "poll"]},
        {"L": [{"S": "paragraph"}]},
        {"M": {"name": {"S": "poll"}}},
        None,
    ],
    ids=lambda kind: "missing" if kind is None else "-".join(kind),
)
def test_a_block_is_kept_and_searchable_whatever_its_type_is(
    pipeline: Pipeline[Post], kind: dict[str, Any] | None
) -> None:
    """Word for word as DynamoDB has it; in a document, beside the blocks that are known."""
    block: dict[str, Any] = {
        "labels": {"SS": ["upper gate", "lower gate"]},
        "options": {"L": [{"M": {"label": {"S": "open"}, "votes": {"N": "3"}}}]},
    }
    if kind is not None:
        block["type"] = kind
    known = {"M": {"type": {"S": "paragraph"}, "text": {"S": "Water rises."}}}
    item: dict[str, dict[str, Any]] = {
        "id": {"S": "p1"},
        "title": {"S": "Locks"},
        "author": {"S": "ann"},
        "blocks": {"L": [{"M": block}, known]},
    }
    pipeline.put(read_item(item))
    assert pipeline.dead_letters() == []
    made = pipeline.document("p1")
    assert made is not None
    kept, paragraph = made["blocks"]
    assert kept["labels"] == ["lower gate", "upper gate"]
    assert kept["options"] == [{"label": "open", "votes": 3}]
    assert ("type" in kept) is (kind is not None)
    assert paragraph == {"type": "paragraph", "text": "Water rises."}
    assert made["text"].split("\n") == ["lower gate", "upper gate", "open", "Water rises."]


def test_a_date_that_the_mapping_refuses_is_a_dead_letter(pipeline: Pipeline[Post]) -> None:
    """The model does not declare `updated_at`, so only the mapping can tell."""
    pipeline.put(read_item(generate.poison_post()))
    (letter,) = pipeline.dead_letters()
    assert letter.error == "document_parsing_exception"
    assert "updated_at" in letter.reason


def test_generated_posts_are_indexed(pipeline: Pipeline[Post]) -> None:
    for post in generate.generate_posts(20):
        pipeline.put(read_item(post))
    assert len(pipeline.documents()) == 19


def test_records_can_be_made_one_by_one() -> None:
    """For tests of code that takes Lambda events itself."""
    records = Records.of(posts, "id")
    made = event(
        records.insert(locks()),
        records.modify(locks(), locks(title="Gates")),
        records.remove(locks(title="Gates")),
    )
    assert [record["eventName"] for record in made["Records"]] == ["INSERT", "MODIFY", "REMOVE"]
    assert made["Records"][1]["dynamodb"]["OldImage"]["title"] == {"S": "Locks"}
    assert made["Records"][1]["dynamodb"]["NewImage"]["title"] == {"S": "Gates"}
