"""The documents of all benchmarks: posts of three text blocks, 1.1 KB and 10 KB as plain JSON.

Pure, and the same for the same seed. Words come from a made vocabulary with the frequencies of
natural text (Zipf's law), so that compression finds in it about what it finds in posts. A post's
texts are cuts of one long text at random places: as random as words drawn for each, and a
twentieth of the time.
"""

import json
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from producer.contract import Change

TABLE: Final = "bench-posts"
SMALL: Final = 1_100
"""Bytes of a post as compact JSON, about."""
LARGE: Final = 10_000
BLOCKS: Final = 3
TITLE: Final = 30
"""Characters of a title."""
VOCABULARY: Final = 4_000
TEXT_WORDS: Final = 1_000_000
"""So long that two cuts within the 32 KiB that zlib looks back on hardly ever meet."""


def name_stream(table: str) -> str:
    """The ARN of a table's stream."""
    account = "arn:aws:dynamodb:us-east-1:000000000000"
    return f"{account}:table/{table}/stream/2026-01-01T00:00:00.000"


STREAM: Final = name_stream(TABLE)

_LETTERS: Final = (
    "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnn"
    "nssssssrrrrrrhhhhhhddddlllluuucccmmmwwffggyyppbbvk"
)
_FRAME: Final = 265
"""Bytes of a post without the words of its blocks, about."""


@lru_cache(maxsize=1)
def _words() -> tuple[list[str], list[float]]:
    rng = random.Random("vocabulary")
    words = [
        "".join(rng.choices(_LETTERS, k=2 + min(n, 900) // 150 + rng.randrange(4)))
        for n in range(VOCABULARY)
    ]
    return words, list(accumulate(1 / (n + 2) for n in range(VOCABULARY)))


@lru_cache(maxsize=1)
def _text() -> str:
    words, weights = _words()
    return " ".join(random.Random("text").choices(words, cum_weights=weights, k=TEXT_WORDS))


def _cut(rng: random.Random, length: int) -> str:
    text = _text()
    start = int(rng.random() * (len(text) - length))
    return text[start : start + length]


def make_post(rng: random.Random, key: str, number: int, size: int = SMALL) -> dict[str, Any]:
    """One post as plain JSON, as a user would index it."""
    words, weights = _words()
    each = (size - _FRAME) // BLOCKS
    return {
        "id": key,
        "n": number,
        "author": f"author-{rng.randrange(500)}",
        "title": _cut(rng, TITLE),
        "score": rng.randrange(10_000) / 100,
        "public": rng.random() < 0.9,
        "tags": sorted(set(rng.choices(words, cum_weights=weights, k=3))),
        "blocks": [{"kind": "text", "text": _cut(rng, each)} for _ in range(BLOCKS)],
    }


def type_post(post: dict[str, Any]) -> dict[str, Any]:
    """The post as DynamoDB's typed JSON."""
    return {
        "id": {"S": post["id"]},
        "n": {"N": str(post["n"])},
        "author": {"S": post["author"]},
        "title": {"S": post["title"]},
        "score": {"N": str(post["score"])},
        "public": {"BOOL": post["public"]},
        "tags": {"SS": post["tags"]},
        "blocks": {
            "L": [
                {"M": {"kind": {"S": block["kind"]}, "text": {"S": block["text"]}}}
                for block in post["blocks"]
            ]
        },
    }


def make_posts(
    count: int, *, prefix: str, size: int = SMALL, seed: int = 0
) -> list[dict[str, Any]]:
    """Posts with the keys prefix-0, prefix-1, …"""
    rng = random.Random(f"{seed}-{prefix}-{size}")
    return [make_post(rng, f"{prefix}-{n}", n, size) for n in range(count)]


def make_records(
    posts: Sequence[dict[str, Any]], *, at_s: int, kind: str = "INSERT", first: int = 1
) -> Iterator[dict[str, Any]]:
    """Stream records as Lambda delivers them, of the view type NEW_IMAGE.

    at_s: their time, in seconds since the epoch. first: sequence number of the first.
    """
    for number, post in enumerate(posts, first):
        item = type_post(post)
        yield {
            "eventID": f"{number:032x}",
            "eventName": kind,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": at_s,
                "Keys": {"id": item["id"]},
                "NewImage": item,
                "SequenceNumber": f"{number:021}",
                "SizeBytes": 1_200,
                "StreamViewType": "NEW_IMAGE",
            },
            "eventSourceARN": STREAM,
        }


def make_changes(
    posts: Sequence[dict[str, Any]], *, at_ms: int, kind: Any = "INSERT", first: int = 1
) -> list[Change]:
    """The same as changes of the contract. at_ms: their time, milliseconds since the epoch."""
    return [
        Change(kind, {"id": {"S": post["id"]}}, at_ms, f"{number:021}", new=type_post(post))
        for number, post in enumerate(posts, first)
    ]


def average_bytes(posts: Sequence[dict[str, Any]]) -> float:
    """Bytes of a post as compact JSON."""
    texts = [json.dumps(post, separators=(",", ":")) for post in posts]
    return sum(map(len, texts)) / len(texts)
