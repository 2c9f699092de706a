"""How much a run measures. Every group of rows takes its numbers from here."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of one run. Each round of a group comes after one unmeasured round unless it says less."""

    rounds: int
    """Measured rounds on processors alone."""
    pool_rounds: int
    """Measured rounds on the cluster."""
    records: int
    """Of an event of the producer's rows, and in its chunking."""
    documents: int
    """Of 1.1 KB, of each round of the pool; a twelfth of it at 10 KB; a third of it where a group
    takes the pool's rate only to know what to load it with."""
    warm: int
    """Documents written and updated before a group measures on the cluster: its JVM compiles
    meanwhile."""
    warm_first: int
    """The same of the first such group, instead: until a document's processor time is stable."""
    warm_messages: int
    """Full messages that go through the queue before anything else does: its JVM compiles too."""
    seconds: float
    """Of each step of the end-to-end rows."""
    calm_s: float
    """Before a spike; a third of it before the naive Lambda's."""
    spike_s: float
    items: int
    """In the table of the backfill and verify rows."""
    messages: int
    """To the worker whose memory is watched; a multiple of 500."""


FULL: Final = Size(
    rounds=7,
    pool_rounds=3,
    records=1_000,
    documents=60_000,
    warm=60_000,
    warm_first=240_000,
    warm_messages=600,
    seconds=30.0,
    calm_s=30.0,
    spike_s=60.0,
    items=20_000,
    messages=100_000,
)
QUICK: Final = Size(
    rounds=3,
    pool_rounds=1,
    records=1_000,
    documents=12_000,
    warm=12_000,
    warm_first=12_000,
    warm_messages=60,
    seconds=6.0,
    calm_s=6.0,
    spike_s=8.0,
    items=4_000,
    messages=10_000,
)
TINY: Final = Size(
    rounds=1,
    pool_rounds=1,
    records=200,
    documents=1_000,
    warm=1_000,
    warm_first=1_000,
    warm_messages=6,
    seconds=2.0,
    calm_s=3.0,
    spike_s=3.0,
    items=500,
    messages=500,
)
"""To see that everything runs. Its figures mean nothing."""
