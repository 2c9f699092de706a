"""Which dead letters are meant, and how many of a sort there are. Pure."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from console.deadletters.model import Letter

_UNITS_MS: Final = {
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which letters are meant: those that pass every given test, by any one of its values."""

    messages: frozenset[str] = frozenset()
    tables: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    reason: str = ""
    """Part of the reason, whatever its case."""
    keys: tuple[str, ...] = ()
    """Each a document's id, a key as typed JSON, or the value of a key attribute as text."""
    older_than_ms: int | None = None
    newer_than_ms: int | None = None
    """Ages, counted from when the letter was dead-lettered."""

    def matches(self, letter: Letter, now_ms: int) -> bool:
        """Whether this letter is meant."""
        age = now_ms - letter.since_ms
        return (
            _among(letter.message, self.messages)
            and _among(letter.table, self.tables)
            and _among(letter.index, self.indices)
            and _among(letter.error, self.errors)
            and self.reason.casefold() in letter.reason.casefold()
            and (not self.keys or any(_names(letter, key) for key in self.keys))
            and (self.older_than_ms is None or age > self.older_than_ms)
            and (self.newer_than_ms is None or age < self.newer_than_ms)
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one error class and one table."""

    error: str
    table: str
    count: int
    oldest_ms: int
    newest_ms: int
    example: Letter
    """The newest of them: what is failing now."""


def group_letters(letters: Iterable[Letter]) -> list[Group]:
    """Letters by error class and table, the largest group first."""
    sorts: dict[tuple[str, str], list[Letter]] = {}
    for letter in letters:
        sorts.setdefault((letter.error, letter.table), []).append(letter)
    groups = [_group(error, table, members) for (error, table), members in sorts.items()]
    return sorted(groups, key=lambda group: (-group.count, group.error, group.table))


def read_duration(text: str) -> int:
    """A duration such as 90s, 15m, 36h, 14d or 2w in milliseconds. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r:.40} is no duration: give 90s, 15m, 36h, 14d or 2w")
    return int(match[1]) * _UNITS_MS[match[2]]


def _among(value: str, wanted: Collection[str]) -> bool:
    return not wanted or value in wanted


def _names(letter: Letter, key: str) -> bool:
    return key in letter.ids or key in letter.values or _canonical(key) in letter.keys


def _canonical(text: str) -> str:
    try:
        key = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _group(error: str, table: str, members: list[Letter]) -> Group:
    newest = max(members, key=lambda letter: letter.since_ms)
    oldest = min(letter.since_ms for letter in members)
    return Group(error, table, len(members), oldest, newest.since_ms, newest)
