"""Where a backfill takes items from: units, each a sequence of steps that can be resumed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from console.scan import TableReader
from console.sending import make_read
from producer.contract import Change


@dataclass(frozen=True, slots=True)
class Step:
    """Some reads, and the place from which to go on once they are sent."""

    changes: list[Change]
    place: Any
    """A JSON value."""
    done: bool
    """Nothing of the unit lies behind this step."""


class Source(Protocol):
    """What a backfill reads."""

    @property
    def job(self) -> Mapping[str, Any]:
        """What must be the same for a checkpoint of this source to be of use."""

    @property
    def total(self) -> int:
        """How many items there are, about; 0 if nobody knows."""

    def units(self) -> Sequence[str]:
        """The parts that can be read beside each other."""

    def steps(self, unit: str, place: Any) -> Iterator[Step]:
        """The steps of a unit, from a place; None: from its beginning."""


@dataclass(frozen=True, slots=True)
class ScanSource:
    """The table itself, by segments of a parallel scan."""

    reader: TableReader
    arn: str
    id: str
    segments: int
    items: int

    @property
    def job(self) -> Mapping[str, Any]:
        return {"source": self.arn, "id": self.id, "segments": self.segments}

    @property
    def total(self) -> int:
        return self.items

    def units(self) -> Sequence[str]:
        return [str(number) for number in range(self.segments)]

    def steps(self, unit: str, place: Any) -> Iterator[Step]:
        while True:
            page = self.reader.scan(int(unit), self.segments, place)
            place = page.after
            changes = [
                make_read(self.reader.key_of(item), item, page.read_ms) for item in page.items
            ]
            yield Step(changes, place, place is None)
            if place is None:
                return
