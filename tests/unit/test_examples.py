"""The example's generated items are what they claim to be, for the model and for DynamoDB."""

import json

import pytest

from examples.posts import generate
from examples.posts.tables import posts
from kit.typed import count_bytes
from worker.documents import make_document
from worker.errors import RefusedError


def test_posts_are_indexed_but_for_drafts() -> None:
    made = [make_document(posts, post) for post in generate.generate_posts(60)]
    assert [number for number, document in enumerate(made) if document is None] == [19, 39, 59]
    assert all(document["text"] for document in made if document is not None)


def test_posts_are_of_half_a_kilobyte_to_three() -> None:
    sizes = [len(json.dumps(post)) for post in generate.generate_posts(300)]
    assert 500 < min(sizes) < max(sizes) < 3500


@pytest.mark.parametrize("revision", [0, 1, 2])
def test_the_oversize_post_fits_dynamodb_and_no_message(revision: int) -> None:
    post = generate.oversize_post(revision=revision)
    assert 380_000 < count_bytes(post) < 400_000
    assert len(json.dumps(post)) > 1024 * 1024
    assert make_document(posts, post) is not None


def test_the_model_takes_the_poison_post() -> None:
    made = make_document(posts, generate.poison_post())
    assert made is not None
    assert made["updated_at"] == "the day before yesterday"


def test_the_model_refuses_the_invalid_post() -> None:
    with pytest.raises(RefusedError, match=r"ValidationError: Post: title: .*blocks\.0\.heading"):
        make_document(posts, generate.invalid_post())
