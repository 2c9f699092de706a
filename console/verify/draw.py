"""Documents of an index drawn at random, each at most once."""

import random
from collections.abc import Iterator
from typing import Final

from console.verify.documents import Located, count_docs, find_foreign, walk_digests
from worker.cluster import Cluster

DRAWS: Final = 50
"""Digests that a sample begins at; what lies behind them makes it up."""

TRIES: Final = 200
"""Draws that meet what was drawn before do not count; a sample may remain smaller than wanted."""


def draw_docs(
    cluster: Cluster, index: str, wanted: int, rng: random.Random
) -> Iterator[list[Located]]:
    """About so many different documents; all of them if there are no more. Raises UnavailableError.

    Digests are evenly spread, so documents behind random ones are a random sample. Documents
    without a digest come in any case: somebody else wrote them, so each is a difference.
    """
    yield find_foreign(cluster, index)
    if count_docs(cluster, index) <= wanted:
        for docs, _after in walk_digests(cluster, index, None, None):
            yield docs
        return
    seen: set[tuple[str, str | None]] = set()
    size = max(1, wanted // DRAWS)
    for _ in range(TRIES):
        start = f"{rng.randrange(16**8):08x}"
        page, _after = next(walk_digests(cluster, index, start, None, size + 1), ([], None))
        fresh = [one for one in page if one[:2] not in seen]
        seen.update(one[:2] for one in fresh)
        yield fresh
        if len(seen) >= wanted:
            return
