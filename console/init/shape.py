"""What a sample of items looks like: the types, presence and form of each attribute. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from producer.contract import Item
from worker.numbers import MalformedError, read_number

_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(T\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
"""strict_date_optional_time (format, Elasticsearch reference), from the day on."""

_LONG: Final = 2**63
_MEMBERS: Final = 20
"""A map of more different members than this is thought to be a dictionary, not a record."""

_SCALARS: Final = frozenset({"S", "N", "B", "BOOL", "SS", "NS", "BS"})


@dataclass
class Shape:
    """The values that were seen in one place."""

    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """How many of each DynamoDB type."""
    dates: bool = True
    times: bool = False
    """Whether a date had a time with it."""
    words: bool = True
    """Whether no text had a blank in it."""
    whole: bool = True
    long: bool = True
    """Whether every number fits into 64 bits, if it is whole."""
    members: "dict[str, Shape]" = field(default_factory=dict)
    """Of maps."""
    elements: "Shape | None" = None
    """Of lists."""

    def add(self, typed: Mapping[str, Any]) -> None:
        """Look at a typed value."""
        ((kind, content),) = typed.items()
        self.count += 1
        self.kinds[kind] += 1
        if kind in ("S", "SS"):
            for text in [content] if kind == "S" else content:
                self._add_text(text)
        elif kind in ("N", "NS"):
            for text in [content] if kind == "N" else content:
                self._add_number(text)
        elif kind == "M":
            for name, member in content.items():
                self.members.setdefault(name, Shape()).add(member)
        elif kind == "L":
            self.elements = self.elements or Shape()
            for element in content:
                self.elements.add(element)

    def _add_text(self, text: str) -> None:
        found = _DATE.fullmatch(text)
        self.dates = self.dates and found is not None and _is_day(found[1])
        self.times = self.times or bool(found and found[2])
        self.words = self.words and not any(c.isspace() for c in text)

    def _add_number(self, text: str) -> None:
        try:
            number = read_number(text)
        except MalformedError:
            return  # such a value is refused later, with its reason
        self.whole = self.whole and isinstance(number, int)
        self.long = self.long and -_LONG <= number < _LONG

    @property
    def types(self) -> frozenset[str]:
        """Its types but NULL."""
        return frozenset(self.kinds) - {"NULL"}

    @property
    def nullable(self) -> bool:
        """Whether a NULL was among them."""
        return "NULL" in self.kinds

    @property
    def record(self) -> bool:
        """Whether its maps look like records: few members, most of them there each time."""
        if self.types != {"M"} or not 0 < len(self.members) <= _MEMBERS:
            return False
        present = sum(member.count for member in self.members.values())
        return self.kinds["M"] < 5 or present >= self.kinds["M"] * len(self.members) / 2

    @property
    def scalar(self) -> bool:
        """Whether it holds nothing but scalars and sets of them."""
        return bool(self.types) and self.types <= _SCALARS


def survey(items: Iterable[Item], key: Mapping[str, str]) -> Shape:
    """The shape of the items themselves. key: the type of each key attribute; always in it."""
    whole = Shape()
    for item in items:
        whole.add({"M": item})
    for name, kind in key.items():
        if name not in whole.members:
            made = Shape(kinds=Counter({kind: 0}))
            made.dates = False
            made.whole = False
            whole.members[name] = made
    return whole


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
