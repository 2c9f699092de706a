"""Changes become chunks that fit, counted in bytes on the wire. Pure, one pass.

Each change is serialised once and goes into a running zlib stream. What the finished chunk may
weigh is bounded without finishing it: bytes known at the last sync flush, plus the worst that
deflate does to what came in since. Only when that bound passes the limit is a flush spent to learn
the exact size, and only when not even that is enough is the change tried on a copy of the stream.
So the answer is exact, and each byte is compressed about once (at most three times).
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Final

from producer.contract import (
    DEAD_LETTER_RESERVE_BYTES,
    INFLATED_BYTES,
    Change,
    ContractError,
    Overflow,
    chunk_frame,
    envelope_bytes,
    parse_stream_arn,
    write_change,
    write_images,
    write_json,
    write_payload,
)

LEVEL: Final = 2
"""Of zlib. `python -m bench.paths` measures what each leaves of changes of 1.3 KB, and its time as
a multiple of one `json.dumps` of their records (docs/performance.md, "What was tried"): level 1:
39.3 %, 0.7; 2: 38.5 %, 0.8; 3: 37.6 %, 1.0; 4: 36.0 %, 1.2; 6: 34.7 %, 2.3. From 2 on a byte less
costs ever more time."""

_STREAM_BYTES: Final = 64
"""Over what deflate adds in blocks: zlib's header and checksum, a sync marker, the last block."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a chunk may weigh."""

    compressed: int
    """Bytes of zlib data that fit into one message, with its envelope and room to dead-letter."""
    inflated: int
    """Bytes of JSON before compression."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Bytes that must lie in the overflow bucket before the message that names them is sent.

    The key depends on the content's origin alone, so a repetition overwrites equal bytes.
    """

    key: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """A chunk as a payload, ready for its envelope."""

    table: str
    stream: str | None
    payload: str
    inflated: int
    """Bytes of its JSON."""
    places: tuple[int, ...]
    """Which of the given changes it holds, ascending."""
    objects: tuple[StoredObject, ...]
    """What its claim checks stand for."""


def fit_limits(queue: str, message_bytes: int, chunk_bytes: int) -> Limits:
    """Limits of a chunk sent to `queue` (its name, which the envelope repeats).

    message_bytes: of a message, all counted. chunk_bytes: of the JSON before compression.
    """
    room = message_bytes - DEAD_LETTER_RESERVE_BYTES - envelope_bytes(queue)
    return Limits(compressed=max(room, 0) // 4 * 3, inflated=chunk_bytes)


def pack(
    table: str, stream: str | None, changes: Iterable[Change], limits: Limits
) -> Iterator[Packed]:
    """Chunks of these changes, in their order. A change's place is its number in `changes`.

    stream: None for reads of the table. Raises ContractError as `Packer.add` does.
    """
    packer = Packer(limits)
    for place, change in enumerate(changes):
        yield from packer.add(table, stream, change, place)
    yield from packer.close()


class Packer:
    """Sorts changes into chunks, one open chunk for each stream or table."""

    def __init__(
        self,
        limits: Limits,
        dumps: Callable[[object], bytes] = write_json,
        library: ModuleType = zlib,
    ) -> None:
        """dumps: writes what `write_json` writes. library: stands in for zlib. Both are for where a
        faster one is at hand."""
        self._limits = limits
        self._dumps = dumps
        self._library = library
        self._open: dict[tuple[str, str | None], _OpenChunk] = {}

    def add(self, table: str, stream: str | None, change: Change, place: int) -> list[Packed]:
        """Take a change; answer the chunk that it filled, if it did.

        Raises ContractError, and takes nothing, if the change can travel in no message: text that
        is no Unicode, or a key or images beyond anything that DynamoDB holds.
        """
        body = write_change(change, self._dumps)
        full = self._put(table, stream, body, place, None)
        if full is not None:
            return full
        small, stored = claim_check(table, stream, change)
        full = self._put(table, stream, write_change(small, self._dumps), place, stored)
        if full is None:
            raise ContractError("the change is too large for a message even without its images")
        return full

    def close(self) -> list[Packed]:
        """The chunks still open, in the order of their first changes."""
        chunks = sorted(self._open.values(), key=lambda chunk: chunk.places[0])
        self._open.clear()
        return [chunk.close() for chunk in chunks]

    def _put(
        self, table: str, stream: str | None, body: bytes, place: int, stored: StoredObject | None
    ) -> list[Packed] | None:
        """None if `body` fits into no chunk at all."""
        current = self._open.get((table, stream))
        if current is not None and current.take(body, place, stored):
            return []
        fresh = _OpenChunk(table, stream, self._limits, self._library.compressobj(LEVEL))
        if not fresh.take(body, place, stored):
            return None
        self._open[table, stream] = fresh
        return [] if current is None else [current.close()]


def claim_check(table: str, stream: str | None, change: Change) -> tuple[Change, StoredObject]:
    """The change without its images, and the object that holds them. Raises ContractError."""
    images = write_images(change)
    if len(images) > INFLATED_BYTES:
        raise ContractError(f"images of {len(images)} bytes: larger than any item")
    if stream is None:
        key = f"{table}/reads/{change.at}-{hashlib.sha256(images).hexdigest()}"
    else:
        key = f"{table}/{parse_stream_arn(stream).label}/{change.sequence}"
    small = replace(change, new=None, old=None, overflow=Overflow(key, len(images)))
    return small, StoredObject(key, zlib.compress(images, LEVEL))


class _OpenChunk:
    """A chunk that still takes changes. It always can be closed within its limits."""

    def __init__(self, table: str, stream: str | None, limits: Limits, deflate: Any) -> None:
        head, self._tail = chunk_frame(table, stream)
        self._table, self._stream, self._limits = table, stream, limits
        self._deflate = deflate
        self._pieces = [self._deflate.compress(head)]
        self._emitted = len(self._pieces[0])
        self._flushed = 0  # bytes out at the last sync flush
        self._pending = len(head)  # bytes in since then
        self._inflated = len(head) + len(self._tail)
        self._ceiling = self._bound(0)  # closing now gives no more than this
        self._objects: list[StoredObject] = []
        self.places: list[int] = []

    def take(self, body: bytes, place: int, stored: StoredObject | None) -> bool:
        """Add a serialised change, or answer False and stay as it was if it does not fit."""
        piece = b"," + body if self.places else body
        if self._inflated + len(piece) > self._limits.inflated:
            return False
        ceiling = self._weigh(piece)
        if ceiling > self._limits.compressed:
            return False
        self._write(self._deflate.compress(piece))
        self._pending += len(piece)
        self._inflated += len(piece)
        self._ceiling = ceiling
        self.places.append(place)
        if stored is not None:
            self._objects.append(stored)
        return True

    def close(self) -> Packed:
        self._write(self._deflate.compress(self._tail))
        self._write(self._deflate.flush())
        return Packed(
            table=self._table,
            stream=self._stream,
            payload=write_payload(b"".join(self._pieces)),
            inflated=self._inflated,
            places=tuple(self.places),
            objects=tuple(self._objects),
        )

    def _weigh(self, piece: bytes) -> int:
        """No less than the chunk's compressed bytes with this piece; exact close to the limit."""
        limit = self._limits.compressed
        ceiling = self._bound(len(piece))
        if ceiling > limit and self.places and self._ceiling + _STREAM_BYTES <= limit:
            self._sync()
            ceiling = self._bound(len(piece))
        return ceiling if ceiling <= limit else self._try(piece)

    def _bound(self, more: int) -> int:
        # One bit in eight over the input: what fixed Huffman codes, the worst choice of any
        # deflate, make of bytes above 143. Stored blocks (zlib's own fallback) add far less.
        pending = self._pending + more + len(self._tail)
        return self._flushed + pending + pending // 8 + _STREAM_BYTES

    def _sync(self) -> None:
        self._write(self._deflate.flush(zlib.Z_SYNC_FLUSH))
        self._flushed, self._pending = self._emitted, 0
        self._ceiling = self._bound(0)

    def _try(self, piece: bytes) -> int:
        trial = self._deflate.copy()
        rest = (trial.compress(piece), trial.compress(self._tail), trial.flush())
        return self._emitted + sum(map(len, rest))

    def _write(self, compressed: bytes) -> None:
        if compressed:
            self._pieces.append(compressed)
            self._emitted += len(compressed)
