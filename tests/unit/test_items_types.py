"""Items and the kit know the table's model: what does not fit it fails type checking."""

from pathlib import Path

import pytest
from mypy import api

HEAD = """
from collections.abc import Iterator
from typing import Any, assert_type
import boto3
from pydantic import BaseModel
from kit.pipeline import Pipeline, Pipelines
from kit.records import Records
from worker.items import Items, Page, Token
from worker.tables import Table

class Post(BaseModel):
    id: str

class Note(BaseModel):
    text: str

posts = Table("posts", model=Post)
plain = Table("plain")
client = boto3.client("dynamodb")
items = Items(posts, client)
make = Pipelines()
pipeline = make(posts, key="id")
records = Records.of(posts, "id")
"""

FITTING = """
assert_type(items, Items[Post])
assert_type(items.get(id="a"), Post | None)
assert_type(items.get({"post-id": b"a"}, number=1), Post | None)
assert_type(items.scan(start=Token("x"), limit=3), Page[Post])
assert_type(items.scan().next, Token | None)
assert_type(items.iterate(), Iterator[Post])
assert_type(Items(plain, client).get(id="a"), dict[str, Any] | None)
assert_type(pipeline, Pipeline[Post])
assert_type(Pipeline(plain, key=("a", "b")), Pipeline[dict[str, Any]])
assert_type(pipeline.document("a"), dict[str, Any] | None)
pipeline.put(Post(id="a"))
pipeline.put({"id": "a"})
records.modify(Post(id="a"), {"id": "a"})
make(plain, key="id").put({"id": "a"})
"""

MISFITS = [
    "items.get(1)",
    'items.get(id="a").id',
    'items.scan(start="x")',
    'items.scan("x")',
    "items.iterate().title",
    'Items("posts", client)',
    "Items(posts, posts)",
    'pipeline.put(Note(text="x"))',
    'pipeline.put("a")',
    "make(posts)",
    'make("posts", key="id")',
    "make(posts, key=1)",
    'records.insert(Note(text="x"))',
    'records.modify(Post(id="a"))',
    'make(plain, key="id").put(Post(id="a"))',
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy says of everything above, checked in one run."""
    file = tmp_path_factory.mktemp("types") / "uses.py"
    file.write_text(HEAD + FITTING + "\n".join(MISFITS) + "\n")
    root = Path(__file__).parents[2]
    output, errors, _ = api.run(
        ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(file.parent), str(file)]
    )
    assert not errors
    return output


def _line(number: int) -> str:
    return f"uses.py:{number}: error:"


def test_uses_that_fit_pass(complaints: str) -> None:
    fitting = range(1, (HEAD + FITTING).count("\n") + 1)
    assert [number for number in fitting if _line(number) in complaints] == []
    assert "worker/" not in complaints
    assert "kit/" not in complaints


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_use_that_does_not_fit_fails(misfit: str, complaints: str) -> None:
    number = (HEAD + FITTING).count("\n") + MISFITS.index(misfit) + 1
    assert _line(number) in complaints
