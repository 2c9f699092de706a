"""How posts are searched: what their owner checks before deploying a change of the model."""

from typing import Any

import pytest

from examples.posts import generate
from examples.posts.tables import Post, document, find_words, posts
from worker.tables import index_body


def index(**changes: Any) -> dict[str, Any] | None:
    """The document of a small post, with some attributes changed."""
    attributes = {
        "id": "p1",
        "title": "Locks",
        "author": "ann",
        "blocks": [{"type": "paragraph", "text": "Water rises."}],
    }
    made = document(Post.model_validate(attributes | changes, extra="allow"))
    return None if made is None else dict(made)


def test_all_words_of_all_blocks_are_searchable() -> None:
    made = index(
        blocks=[
            {"type": "heading", "text": "Gates"},
            {"type": "list", "items": ["upper", "lower"]},
            {"type": "image", "url": "https://images.example/1.jpg", "alt": "A gate"},
            {"type": "quote", "text": "It opens", "by": "ben"},
        ]
    )
    assert made is not None
    assert made["text"].split("\n") == ["Gates", "upper", "lower", "A gate", "It opens", "ben"]


def test_a_kind_of_block_nobody_knows_is_kept_and_searchable() -> None:
    poll = {"type": "poll", "question": "Open it?", "options": [{"label": "yes", "votes": 3}]}
    made = index(blocks=[poll])
    assert made is not None
    assert made["blocks"] == [poll]
    assert made["text"] == "Open it?\nyes"


@pytest.mark.parametrize("words", [{"upper", "lower"}, frozenset({"upper", "lower"})])
def test_words_in_a_set_are_found_in_one_order(words: Any) -> None:
    assert list(find_words({"type": "poll", "labels": words})) == ["lower", "upper"]


def test_words_are_found_at_any_depth_and_beside_what_is_no_text() -> None:
    shape = {"options": ({"label": "yes", "votes": 3}, [None, {1, 2}, {b"x"}, {"no"}])}
    assert list(find_words(shape)) == ["yes", "no"]


def test_an_attribute_nobody_knows_is_kept() -> None:
    made = index(mood="calm", blocks=[{"type": "paragraph", "text": "x", "colour": "blue"}])
    assert made is not None
    assert made["mood"] == "calm"
    assert made["blocks"][0]["colour"] == "blue"


def test_drafts_are_hidden() -> None:
    assert index(status="draft") is None


def test_every_declared_field_is_mapped() -> None:
    mapped = index_body(posts)["mappings"]["properties"]
    assert Post.model_fields.keys() <= mapped.keys()


def test_the_generator_repeats_itself() -> None:
    assert list(generate.generate_posts(20)) == list(generate.generate_posts(20))
    assert generate.make_post(1) != generate.make_post(1, seed=2)
    assert generate.make_post(1) != generate.make_post(1, revision=1)


@pytest.mark.parametrize("number", [0, 19])
def test_generated_posts_keep_their_id_through_edits(number: int) -> None:
    edited = generate.make_post(number, revision=3)
    assert edited["id"] == generate.make_post(number)["id"]
    assert edited["revision"] == {"N": "3"}
