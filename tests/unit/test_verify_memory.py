"""A comparison, be it of verify or of a rebuild, holds a few pages and not the table."""

import tracemalloc

from console.checkpoint import Journal
from tests.sides import Sides, walk_sides


def compare(items: int) -> int:
    """Compare so many; the most bytes that were held meanwhile."""
    sides = Sides(items)
    journal = Journal({}, None, lambda: 5)
    tracemalloc.start()
    walk_sides(sides, journal)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    counted = {name: journal.count(name) for name in ("items", "documents", "found")}
    assert counted == {"items": items, "documents": items, "found": 0}
    return most


def test_memory_does_not_grow_with_the_table() -> None:
    compare(4_000)
    # How many pages are held at once is up to the threads. The 32,000 items more, or what was
    # made of them, would be 20 MB and above.
    assert compare(40_000) - compare(8_000) < 5_000_000
