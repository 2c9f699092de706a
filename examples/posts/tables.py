"""Posts: a table as its owner declares it.

A post is a head and a list of blocks. New kinds of block appear often; one that this file does not
know yet is kept as it is, and its words are searchable all the same.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from worker.tables import Table, dump


class Paragraph(BaseModel):
    """Running text."""

    type: Literal["paragraph"]
    text: str


class Heading(BaseModel):
    """A heading of a level from 1 to 6."""

    type: Literal["heading"]
    text: str
    level: int = Field(default=2, ge=1, le=6)


class Quote(BaseModel):
    """Somebody's words."""

    type: Literal["quote"]
    text: str
    by: str | None = None


class Code(BaseModel):
    """Lines of a program."""

    type: Literal["code"]
    code: str
    language: str = "text"


class Image(BaseModel):
    """A picture, with what it shows in words."""

    type: Literal["image"]
    url: str
    alt: str = ""
    width: int | None = None
    height: int | None = None


class ListBlock(BaseModel):
    """Points, one below the other."""

    type: Literal["list"]
    items: list[str]
    ordered: bool = False


class UnknownBlock(BaseModel):
    """A kind of block that came after this file was written: whatever it holds, and calls itself.

    It declares nothing, so nothing can be refused: not even a `type` that is no text, or missing.
    """


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else getattr(block, "type", None)
    return kind if isinstance(kind, str) and kind in KINDS else "unknown"


KINDS = frozenset({"paragraph", "heading", "quote", "code", "image", "list"})

Block = Annotated[
    Annotated[Paragraph, Tag("paragraph")]
    | Annotated[Heading, Tag("heading")]
    | Annotated[Quote, Tag("quote")]
    | Annotated[Code, Tag("code")]
    | Annotated[Image, Tag("image")]
    | Annotated[ListBlock, Tag("list")]
    | Annotated[UnknownBlock, Tag("unknown")],
    Discriminator(_kind),
]


class Post(BaseModel):
    """A post. Attributes that are not declared here are kept."""

    id: str
    title: str
    author: str
    status: Literal["draft", "published"] = "published"
    published_at: datetime | None = None
    tags: set[str] = set()
    blocks: list[Block] = []


NOT_WORDS = frozenset({"type", "url", "language"})


def document(post: Post) -> dict[str, Any] | None:
    """The post and, under `text`, all its words. Drafts are hidden from search."""
    if post.status == "draft":
        return None
    fields = dump(post)
    return {**fields, "text": "\n".join(find_words(fields["blocks"]))}


def find_words(value: Any) -> Iterator[str]:
    """Every text below a value, whatever its shape: so an unknown block is searchable too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            if name not in NOT_WORDS:
                yield from find_words(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from find_words(member)
    elif isinstance(value, set | frozenset):
        # DynamoDB's sets have no order; a document must not change with the process that makes it.
        for member in sorted(value, key=str):
            yield from find_words(member)


posts = Table(
    "posts",
    model=Post,
    document=document,
    mappings={
        "id": {"type": "keyword"},
        "title": {"type": "text"},
        "author": {"type": "keyword"},
        "status": {"type": "keyword"},
        "published_at": {"type": "date"},
        "updated_at": {"type": "date"},
        "tags": {"type": "keyword"},
        "text": {"type": "text"},
        # Searched through `text`; kept, unmapped, so that no new kind of block can be refused.
        "blocks": {"type": "object", "enabled": False},
    },
)
