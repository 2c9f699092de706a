"""What is done with the messages of a scan: look, move, archive and delete.

Whatever is moved is sent before it is deleted, so nothing is lost at any instruction; a message
sent twice is told apart from nothing, since a worker finds the second one obsolete.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Final, Protocol

from console.deadletters import archive
from console.deadletters.filters import Filter
from console.deadletters.model import (
    Letter,
    Received,
    Record,
    describe,
    keep_attributes,
    mark_first,
    read_contents,
)
from console.deadletters.queue import Pair, Parcel
from console.deadletters.reading import Reader, StillUnreadableError
from console.deadletters.scan import PAGE, Pace
from producer.message import Message
from producer.sender import Sender

SEND_S: Final = 20.0
"""How long the messages of one record may take to be sent."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant, at a moment."""

    filter: Filter
    now_ms: int

    def choose(self, page: Sequence[Received]) -> list[tuple[Received, Letter]]:
        """Those of the page that are meant, with what is said of them."""
        described = ((received, describe(received)) for received in page)
        return [(r, letter) for r, letter in described if self.filter.matches(letter, self.now_ms)]


@dataclass(slots=True)
class Look:
    """Notes what is there, and removes nothing."""

    choice: Choice
    keep: Callable[[Received, Letter], object]
    enough: Callable[[], bool] = lambda: False
    """Whether it has seen what it looked for."""
    advance: Callable[[int], object] = lambda count: None

    def room(self) -> int:
        return 0 if self.enough() else PAGE

    def take(self, page: Sequence[Received]) -> Collection[str]:
        for received, letter in self.choice.choose(page):
            self.keep(received, letter)
        self.advance(len(page))
        return ()


class Send(Protocol):
    """How a record's messages are sent, with the objects that they name before them."""

    def __call__(self, messages: Sequence[Message]) -> str:
        """Why they were not sent; empty if they were."""


def send_with(sender: Sender) -> Send:
    """`Send` by the producer's own sender."""

    def send(messages: Sequence[Message]) -> str:
        deadline = time.monotonic() + SEND_S
        sending = sender.send(messages, lambda: int(1000 * (deadline - time.monotonic())))
        return ", ".join(sorted({refusal.code for refusal in sending.refusals}))

    return send


@dataclass(slots=True)
class Moved:
    """How a redrive went."""

    moved: int = 0
    converted: int = 0
    """Of them, stream records that became changes."""
    repeated: int = 0
    """Of them, those that could not be deleted: they are in both queues, which does no harm."""
    by_error: Counter[str] = field(default_factory=Counter)
    stayed: list[tuple[Letter, str]] = field(default_factory=list)
    """What was meant and was not moved, with why."""


@dataclass(slots=True)
class Redrive:
    """Moves letters to the main queue."""

    pair: Pair
    choice: Choice
    reader: Reader
    send: Send
    pace: Pace
    limit: int | None
    stop: threading.Event
    dry_run: bool = False
    advance: Callable[[int], object] = lambda count: None
    started: float = field(default_factory=time.monotonic)
    result: Moved = field(default_factory=Moved)

    def room(self) -> int:
        if self._left() == 0:
            return 0
        if not self.dry_run:
            self.stop.wait(self.pace.wait_s(self.result.moved, time.monotonic() - self.started))
        return self.pace.page()

    def take(self, page: Sequence[Received]) -> Collection[str]:
        chosen = self.choice.choose(page)[: self._left()]
        sent = self._redrive_bodies(chosen) + self._redrive_records(chosen)
        self.advance(len(page))
        self.result.moved += len(sent)
        self.result.by_error.update(letter.error for _, letter in sent)
        if self.dry_run:
            return ()
        kept = self.pair.delete([received.receipt for received, _ in sent])
        self.result.repeated += len(kept)
        return {received.id for received, _ in sent if received.receipt not in kept}

    def _left(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.result.moved)

    def _redrive_bodies(
        self, chosen: Sequence[tuple[Received, Letter]]
    ) -> list[tuple[Received, Letter]]:
        whole = [one for one in chosen if one[1].kind != "record"]
        if self.dry_run:
            return whole
        parcels = [Parcel(r.body, keep_attributes(r)) for r, _ in whole]
        refused = self.pair.redrive(parcels)
        self.result.stayed += [(whole[place][1], why) for place, why in refused.items()]
        return [one for place, one in enumerate(whole) if place not in refused]

    def _redrive_records(
        self, chosen: Sequence[tuple[Received, Letter]]
    ) -> list[tuple[Received, Letter]]:
        sent = []
        for received, letter in chosen:
            contents = read_contents(received.body) if letter.kind == "record" else None
            if not isinstance(contents, Record):
                continue
            why = self._redrive_record(received, contents)
            if why:
                self.result.stayed.append((letter, why))
            else:
                sent.append((received, letter))
                self.result.converted += 1
        return sent

    def _redrive_record(self, received: Received, record: Record) -> str:
        """Why it stays; empty if it was sent."""
        try:
            messages = self.reader.read(record)
        except StillUnreadableError as error:
            return str(error)
        if self.dry_run:
            return ""
        first = mark_first({}, received)
        why = self.send([replace(message, attributes=first) for message in messages])
        return f"it could not be sent: {why}" if why else ""


@dataclass(slots=True)
class Purge:
    """Deletes letters, each written to an archive before."""

    pair: Pair
    choice: Choice
    file: IO[str]
    advance: Callable[[int], object] = lambda count: None
    purged: int = 0
    kept: int = 0
    """Archived, but still in the queue: SQS did not delete them."""

    def room(self) -> int:
        return PAGE

    def take(self, page: Sequence[Received]) -> Collection[str]:
        chosen = [received for received, _ in self.choice.choose(page)]
        archive.write(self.file, chosen)
        kept = self.pair.delete([received.receipt for received in chosen])
        self.advance(len(page))
        self.purged += len(chosen) - len(kept)
        self.kept += len(kept)
        return {received.id for received in chosen if received.receipt not in kept}
