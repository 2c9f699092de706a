"""Posts to fill a table with: the same ones for the same seed, typed as DynamoDB takes them.

`python -m examples.posts.generate 3` prints three, one JSON object a line.
"""

import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Typed = dict[str, dict[str, Any]]

_TEXT = (
    "river gate level water stone lock canal mill wheel rain field bridge harbour tide boat rope "
    "anchor crane barge miller keeper upstream downstream narrow broad early late summer winter "
    "opens closes rises falls turns carries holds lets through slowly quickly never always once "
    "the a of and with under over beside between after before while until because although"
)
_WORDS = _TEXT.split()
_AUTHORS = ("ann", "ben", "chloé", "dmitri", "eun-ji", "fatima")
_TAGS = ("water", "history", "engineering", "travel", "nature", "craft", "maps")
_LANGUAGES = ("python", "go", "sql")
_CELLS = 15_600
"""So many small maps come to about 390 KB as DynamoDB counts; it takes 400 KB."""

_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def generate_posts(count: int, seed: int = 1) -> Iterator[Typed]:
    """So many posts of about 0.5 to 3 KB; one in twenty is a draft."""
    for number in range(count):
        yield make_post(number, seed)


def make_post(number: int, seed: int = 1, revision: int = 0) -> Typed:
    """The post of that number, as it is after so many edits."""
    random_ = random.Random(f"{seed}/{number}/{revision}")  # noqa: S311 - sameness is the point
    born = _EPOCH + timedelta(minutes=37 * number)
    post: Typed = {
        "id": {"S": post_id(number)},
        "title": {"S": _sentence(random_, 3, 8).rstrip(".")},
        "author": {"S": random_.choice(_AUTHORS)},
        "status": {"S": "draft" if number % 20 == 19 else "published"},
        "published_at": {"S": born.isoformat()},
        "tags": {"SS": sorted(random_.sample(_TAGS, random_.randint(1, 3)))},
        "blocks": {"L": [_block(random_) for _ in range(random_.randint(3, 8))]},
        "revision": {"N": str(revision)},
        "rating": {"N": f"{random_.randint(10, 49) / 10:g}"},
    }
    if revision:
        post["updated_at"] = {"S": (born + timedelta(seconds=revision)).isoformat()}
    return post


def oversize_post(number: int = 1_000_000, seed: int = 1, revision: int = 0) -> Typed:
    """A post of about 390 KB in thousands of small attributes, which typed JSON doubles."""
    post = make_post(number, seed, revision)
    random_ = random.Random(f"{seed}/{number}/{revision}/oversize")  # noqa: S311
    cells = [_cell(random_, n) for n in range(_CELLS)]
    post["blocks"]["L"].append({"M": {"type": {"S": "table"}, "cells": {"L": cells}}})
    return post


def poison_post(number: int = 2_000_000, seed: int = 1, revision: int = 0) -> Typed:
    """A post that the model takes and the cluster refuses.

    `updated_at` is an attribute that the model does not declare, so anything goes; the mapping
    says it is a date, and this is none.
    """
    post = make_post(number, seed, revision)
    post["updated_at"] = {"S": "the day before yesterday"}
    return post


def invalid_post(number: int = 3_000_000, seed: int = 1, revision: int = 0) -> Typed:
    """A post that the model itself refuses: no title, and a heading of level nine."""
    post = make_post(number, seed, revision)
    del post["title"]
    heading = {"type": {"S": "heading"}, "text": {"S": "Too deep"}, "level": {"N": "9"}}
    post["blocks"]["L"].insert(0, {"M": heading})
    return post


def post_id(number: int) -> str:
    """The id of the post of that number."""
    return f"post-{number:07}"


def _block(random_: random.Random) -> dict[str, Any]:
    kind = random_.choice(
        ("paragraph",) * 4 + ("heading", "quote", "code", "image", "list", "poll")
    )
    return {"M": {"type": {"S": kind}, **_CONTENTS[kind](random_)}}


def _paragraph(random_: random.Random) -> Typed:
    return {
        "text": {"S": " ".join(_sentence(random_, 6, 18) for _ in range(random_.randint(1, 4)))}
    }


def _heading(random_: random.Random) -> Typed:
    return {"text": {"S": _sentence(random_, 2, 6)}, "level": {"N": str(random_.randint(1, 4))}}


def _quote(random_: random.Random) -> Typed:
    return {"text": {"S": _sentence(random_, 5, 15)}, "by": {"S": random_.choice(_AUTHORS)}}


def _code(random_: random.Random) -> Typed:
    lines = "\n".join(f"{random_.choice(_WORDS)} = {random_.randint(0, 999)}" for _ in range(4))
    return {"code": {"S": lines}, "language": {"S": random_.choice(_LANGUAGES)}}


def _image(random_: random.Random) -> Typed:
    return {
        "url": {"S": f"https://images.example/{random_.getrandbits(64):016x}.jpg"},
        "alt": {"S": _sentence(random_, 3, 7)},
        "width": {"N": "1600"},
        "height": {"N": str(random_.choice((900, 1067, 1200)))},
    }


def _list(random_: random.Random) -> Typed:
    items = [{"S": _sentence(random_, 2, 6)} for _ in range(random_.randint(2, 5))]
    return {"items": {"L": items}, "ordered": {"BOOL": random_.random() < 0.5}}


def _poll(random_: random.Random) -> Typed:
    """A kind that the model does not know."""
    options = [
        {"M": {"label": {"S": random_.choice(_WORDS)}, "votes": {"N": str(random_.randint(0, 90))}}}
        for _ in range(3)
    ]
    return {"question": {"S": _sentence(random_, 4, 9)}, "options": {"L": options}}


_CONTENTS = {
    "paragraph": _paragraph,
    "heading": _heading,
    "quote": _quote,
    "code": _code,
    "image": _image,
    "list": _list,
    "poll": _poll,
}


def _cell(random_: random.Random, number: int) -> dict[str, Any]:
    return {
        "M": {
            "n": {"N": str(number)},
            "w": {"S": random_.choice(_WORDS)},
            "x": {"N": str(random_.randint(0, 99))},
            "ok": {"BOOL": True},
        }
    }


def _sentence(random_: random.Random, least: int, most: int) -> str:
    words = random_.choices(_WORDS, k=random_.randint(least, most))
    return " ".join(words).capitalize() + "."


if __name__ == "__main__":
    for line in generate_posts(int(sys.argv[1]) if len(sys.argv) > 1 else 10):
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
