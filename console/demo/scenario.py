"""What the demo writes: the posts there are, then a spike of edits. Pure, the same for a seed."""

import base64
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from examples.posts.generate import make_post, poison_post, post_id

MODULE: Final = "examples.posts.tables"
TABLE: Final = "posts"

BATCH: Final = 25
"""Most writes of one BatchWriteItem (DynamoDB API reference)."""

HOT: Final = 20
"""So many posts get every sixth edit, as posts that are being written do."""

IMAGE_BYTES: Final = 270_000
"""As base64 360 KB: an item may have 400 KB, a message 256 KB."""

Typed: TypeAlias = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Write:
    """Put an item, or delete the one with this id."""

    id: str
    item: Typed | None = None


@dataclass(frozen=True, slots=True)
class Spike:
    """All writes of the spike, in order, and what is peculiar in its second half."""

    writes: tuple[Write, ...]
    oversize: tuple[str, ...]
    poison: str

    @property
    def deletes(self) -> int:
        """How many of them delete."""
        return sum(write.item is None for write in self.writes)

    @property
    def ids(self) -> frozenset[str]:
        """The posts that are touched."""
        return frozenset(write.id for write in self.writes)


def existing_posts(count: int, seed: int) -> list[Write]:
    """The posts that are there before the spike."""
    return [Write(post_id(n), make_post(n, seed)) for n in range(count)]


def make_spike(posts: int, edits: int, seed: int) -> Spike:
    """So many edits of so many posts: most change a post, some add, delete or bring one back.

    Among them are four posts too large for a message, the last of which is then edited down to
    an ordinary one and up again, and one that the cluster refuses.
    """
    chance = random.Random(f"{seed}/spike")
    writes = list(_make_edits(posts, edits, seed, chance))
    pasted = [posts + edits + n for n in range(4)]
    poison = poison_post(seed=seed)
    special = [
        *(Write(post_id(n), paste_image(make_post(n, seed), chance)) for n in pasted),
        Write(post_id(pasted[-1]), make_post(pasted[-1], seed, 1)),
        Write(post_id(pasted[-1]), paste_image(make_post(pasted[-1], seed, 2), chance)),
        Write(poison["id"]["S"], poison),
    ]
    half = len(writes) // 2
    places = sorted(half + chance.randrange(half) for _ in special)
    for place, write in reversed(list(zip(places, special, strict=True))):
        writes.insert(place, write)
    return Spike(tuple(writes), tuple(post_id(n) for n in pasted), poison["id"]["S"])


def paste_image(post: Typed, chance: random.Random) -> Typed:
    """The post with a picture pasted into it, of a size that compression does not help."""
    content = base64.b64encode(chance.randbytes(IMAGE_BYTES)).decode()
    image = {"type": {"S": "image"}, "url": {"S": f"data:image/png;base64,{content}"}}
    post["blocks"]["L"].append({"M": image})
    return post


def _make_edits(posts: int, edits: int, seed: int, chance: random.Random) -> Iterator[Write]:
    there = list(range(posts))
    gone: list[int] = []
    revisions: dict[int, int] = {}
    fresh = posts
    for _ in range(edits):
        dice = chance.random()
        if dice < 0.05 or len(there) <= HOT:
            number, fresh = fresh, fresh + 1
            there.append(number)
        elif dice < 0.10:
            number = there.pop(chance.randrange(HOT, len(there)))
            gone.append(number)
            yield Write(post_id(number))
            continue
        elif dice < 0.12 and gone:
            number = gone.pop(chance.randrange(len(gone)))
            there.append(number)
        else:
            most = HOT if chance.random() < 1 / 6 else len(there)
            number = there[chance.randrange(most)]
        revisions[number] = revisions.get(number, 0) + 1
        yield Write(post_id(number), make_post(number, seed, revisions[number]))


def lanes(writes: Sequence[Write], count: int) -> list[list[Write]]:
    """The writes in so many lanes, those of one item in one lane and in order."""
    made: list[list[Write]] = [[] for _ in range(count)]
    for write in writes:
        made[zlib.crc32(write.id.encode()) % count].append(write)
    return made


def batches(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """Writes in order, in batches of at most 25 that touch no item twice, as DynamoDB wants it."""
    batch: dict[str, Write] = {}
    for write in writes:
        if write.id in batch or len(batch) == BATCH:
            yield list(batch.values())
            batch = {}
        batch[write.id] = write
    if batch:
        yield list(batch.values())
