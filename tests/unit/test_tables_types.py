"""A document function or handler that does not fit its table's model fails type checking."""

from pathlib import Path

import pytest
from mypy import api

HEAD = """
from collections.abc import Sequence
from typing import Any, assert_type
from pydantic import BaseModel
from worker.tables import Handler, Insert, Modify, Remove, Table

class Post(BaseModel):
    id: str

class Note(BaseModel):
    text: str

def of_post(post: Post) -> dict[str, Any]:
    return {"id": post.id}

def of_note(note: Note) -> Note | None:
    return None

def of_item(item: dict[str, Any]) -> dict[str, Any]:
    return item

def to_text(post: Post) -> str:
    return post.id

def greet(changes: Sequence[Insert[Post]]) -> None:
    assert_type(changes[0].new, Post)

async def put(changes: Sequence[Insert[Post] | Modify[Post]]) -> None:
    for change in changes:
        assert_type(change.new, Post)
        if isinstance(change, Modify):
            assert_type(change.old, Post | None)

def bury(changes: Sequence[Remove[Post]]) -> None:
    assert_type(changes[0].old, Post | None)

def compare(changes: Sequence[Modify[Post]]) -> None:
    assert_type(changes[0].new, Post)
    assert_type(changes[0].old, Post | None)

async def end(changes: Sequence[Modify[Post] | Remove[Post]]) -> None:
    for change in changes:
        assert_type(change.old, Post | None)
        if isinstance(change, Modify):
            assert_type(change.new, Post)

def tally(changes: Sequence[Insert[Post] | Remove[Post]]) -> None:
    for change in changes:
        if isinstance(change, Insert):
            assert_type(change.new, Post)
        else:
            assert_type(change.old, Post | None)

async def end_hook(error: Exception, changes: Sequence[Modify[Post] | Remove[Post]]) -> None:
    assert_type(changes[0].meta.old_error, str)

def watch(changes: Sequence[Insert[Post] | Modify[Post] | Remove[Post]]) -> None:
    assert_type(changes[0].meta.key["id"], Any)

def count(changes: Sequence[Insert[dict[str, Any]]]) -> int:
    return len(changes)

async def hook(error: Exception, changes: Sequence[Insert[Post]]) -> None:
    assert_type(changes[0].new, Post)
"""

FITTING = """
assert_type(Table("posts"), Table[dict[str, Any]])
assert_type(Table("posts", document=of_item), Table[dict[str, Any]])
assert_type(Table("posts", model=Post), Table[Post])
assert_type(Table("posts", model=Post, document=of_post, undeclared="refuse"), Table[Post])
assert_type(Table("notes", model=Note, document=of_note, routing=("a", "b")), Table[Note])
Table("posts", model=Post, document=lambda post: {"id": post.id})
Table("posts", document=lambda item: item["id"] and item)
assert_type(Handler("INSERT", greet), Handler[Post])
assert_type(Handler("INSERT, MODIFY", put), Handler[Post])
assert_type(Handler("MODIFY", compare), Handler[Post])
assert_type(Handler("MODIFY, REMOVE", end, on_error=end_hook), Handler[Post])
assert_type(Handler("INSERT, REMOVE", tally), Handler[Post])
Handler("MODIFY", put)
Handler("MODIFY", end)
Handler("REMOVE", tally)
Handler("MODIFY, REMOVE", watch)
Handler("INSERT", put)
Handler("ALL", watch)
Handler("REMOVE", watch)
Handler("INSERT", greet, on_error=hook)
Table("posts", model=Post, handlers=[Handler("INSERT", greet), Handler("REMOVE", bury)])
Table("posts", handlers=[Handler("INSERT", count)], strategy="concurrent")
"""

MISFITS = [
    'Table("posts", document=of_post)',
    'Table("posts", model=Post, document=of_note)',
    'Table("posts", model=Post, document=of_item)',
    'Table("posts", model=Post, document=to_text)',
    'Table("posts", model=Post, document=lambda post: {"id": post.title})',
    'Table("posts", model=dict)',
    'Table("posts", undeclared="keep")',
    'Table("posts", model=Post, undeclared="drop")',
    'Table("posts", routing=1)',
    'Table("posts", model=Post).alias = "other"',
    'Handler("MODIFY", greet)',
    'Handler("ALL", put)',
    'Handler("INSERT, REMOVE", put)',
    'Handler("INSERT, REMOVE", end)',
    'Handler("MODIFY, REMOVE", compare)',
    'Handler("MODIFY, REMOVE", put)',
    'Handler("MODIFY, REMOVE", tally)',
    'Handler("MODIFY, REMOVE", end, on_error=hook)',
    'Handler("INSERT, MODIFY", end)',
    'Handler("REMOVE", bury, on_error=hook)',
    'Handler("INSERT AND MODIFY", put)',
    'Table("posts", model=Note, handlers=[Handler("INSERT", greet)])',
    'Table("posts", model=Post, handlers=[Handler("INSERT", count)])',
    'Table("posts", handlers=[Handler("INSERT", greet)])',
    'Table("posts", strategy="map")',
    "Remove[Post].new",
    "print(Insert[Post].old)",
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy says of everything above, checked in one run."""
    file = tmp_path_factory.mktemp("types") / "declarations.py"
    file.write_text(HEAD + FITTING + "\n".join(MISFITS) + "\n")
    root = Path(__file__).parents[2]
    output, errors, _ = api.run(
        ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(file.parent), str(file)]
    )
    assert not errors
    return output


def _line(number: int) -> str:
    return f"declarations.py:{number}: error:"


def test_declarations_that_fit_pass(complaints: str) -> None:
    fitting = range(1, (HEAD + FITTING).count("\n") + 1)
    assert [number for number in fitting if _line(number) in complaints] == []
    assert "worker/" not in complaints


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_declaration_that_does_not_fit_fails(misfit: str, complaints: str) -> None:
    number = (HEAD + FITTING).count("\n") + MISFITS.index(misfit) + 1
    assert _line(number) in complaints
