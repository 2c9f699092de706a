"""What a comparison has proven already: sums of digests, so that no key is read a second time.

Items that agree with their documents are added up by the digest that both carry, bucket by bucket.
Where the documents of a bucket add up to the same, each of them is one of those: none is left over.
Otherwise each must be looked up in the table. A digest covers its item's key (`worker.values`), so
two documents share one only if somebody has copied it, and then the sums differ.
"""

import re
import threading
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

BITS: Final = 20
"""Most bits of a digest that name its bucket: 8 MB of sums, however large the table is."""

_DIGEST: Final = re.compile("[0-9a-f]{32}")
_PREFIX: Final = 8
_WIDTH: Final = 2**64


class Sums:
    """A sum of 64 bits for each bucket. Safe in several threads.

    Sums of different digests are equal by chance once in 2^64 buckets. They are of Python's own
    keyed hash (SipHash), so they mean nothing to another process.
    """

    def __init__(self, bits: int) -> None:
        """bits: of a digest's beginning, 0 to 32."""
        self._shift = 4 * _PREFIX - bits
        self._sums = array("Q", bytes(8 << bits))
        self._lock = threading.Lock()

    def add(self, digests: Iterable[str]) -> None:
        """Digests of items that agree with their documents, each once."""
        pairs = [_read(digest) for digest in digests]
        with self._lock:
            for prefix, value in pairs:
                bucket = prefix >> self._shift
                self._sums[bucket] = (self._sums[bucket] + value) % _WIDTH

    def doubt(self, digests: Sequence[str]) -> list[str]:
        """Which of these documents' digests prove nothing of themselves, in order.

        digests: all there are between two digests; a bucket that is there in part is in doubt.
        """
        found: Counter[int] = Counter()
        buckets: list[int | None] = []
        for digest in digests:
            try:
                prefix, value = _read(digest)
            except ValueError:
                buckets.append(None)
                continue
            bucket = prefix >> self._shift
            found[bucket] += value
            buckets.append(bucket)
        proven = {name for name, total in found.items() if total % _WIDTH == self._sums[name]}
        pairs = zip(digests, buckets, strict=True)
        return [digest for digest, bucket in pairs if bucket not in proven]


def choose_bits(documents: int) -> int:
    """About one document to a bucket, so that a change puts few others in doubt. Pure."""
    return min(BITS, max(documents, 0).bit_length())


def _read(digest: str) -> tuple[int, int]:
    """What names the bucket, and what is added up. Raises ValueError for what is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError("no digest")
    # Hashed once more, with a key of this process's own: no digest written by hand adds nothing.
    return int(digest[:_PREFIX], 16), hash(digest) % _WIDTH
