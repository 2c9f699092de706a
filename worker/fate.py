"""What became of a message, on its way from the process that did it to the main process. Pure.

Celery brings a task's return value there as its `repr`, cut at 1,024 characters
(celery.app.task, `resultrepr_maxsize`). So it is a short text without a quote in it, a JSON list.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from worker.metrics import LAG

CLASSES: Final = 8
"""Error classes told of one message. What is beyond them is told as OTHER."""

OTHER: Final = "other"

_CLASS_CHARACTERS: Final = 60
_ODD: Final = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message's changes, for the valve and the metrics."""

    done: int
    """Applied, obsolete, or folded into another."""
    refused: int = 0
    """Sent to the dead-letter queue."""
    applied: int = 0
    obsolete: int = 0
    folded: int = 0
    conflicts: int = 0
    wire_bytes: int = 0
    json_bytes: int = 0
    took_ms: int | None = None
    """None for a message that was no chunk."""
    bulk_ms: int = 0
    """Of `took_ms`, what the bulk requests took."""
    lag_sum_ms: int = 0
    lag_max_ms: int = 0
    lags: tuple[int, ...] = ()
    """Live changes in each bucket of `metrics.LAG`, and in one more, above its last bound."""
    classes: Mapping[str, int] = field(default_factory=dict)
    """Refused changes by error class."""


_NUMBERS: Final = (
    *("done", "refused", "applied", "obsolete", "folded", "conflicts"),
    *("wire_bytes", "json_bytes", "took_ms", "bulk_ms", "lag_sum_ms", "lag_max_ms"),
)


def write_fate(fate: Fate) -> str:
    """A task's return value."""
    pairs = [n for pair in enumerate(fate.lags) if pair[1] for n in pair]
    values = [getattr(fate, name) for name in _NUMBERS]
    return json.dumps([*values, pairs, list_classes(fate.classes)], separators=(",", ":"))


def read_fate(text: object) -> Fate | None:
    """The inverse, from what reaches the main process: the value's `repr` (celery.app.trace).

    None for anything else: valve and metrics can do without, the message must not suffer for it.
    """
    try:
        return _read(json.loads(text.strip("'"))) if isinstance(text, str) else None
    except (ValueError, TypeError, IndexError, RecursionError):
        return None


def count_lags(lags_s: Iterable[float]) -> tuple[int, ...]:
    """How many lie in each bucket of `metrics.LAG`, and above all."""
    return count_values(lags_s, LAG.bounds)


def count_values(values: Iterable[float], bounds: Sequence[float]) -> tuple[int, ...]:
    """How many values lie in each bucket: up to and with its bound, and one above all bounds."""
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[place_of(value, bounds)] += 1
    return tuple(counts)


def place_of(value: float, bounds: Sequence[float]) -> int:
    """The bucket of a value."""
    return next((n for n, bound in enumerate(bounds) if value <= bound), len(bounds))


def list_classes(classes: Mapping[str, int]) -> list[list[Any]]:
    """The most frequent classes and their counts, in names that fit anywhere, and the rest."""
    named: Counter[str] = Counter()
    for name, count in classes.items():
        named[_ODD.sub("_", name)[:_CLASS_CHARACTERS] or OTHER] += count
    ordered = sorted(named.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[CLASSES:])
    return [[name, count] for name, count in ordered[:CLASSES]] + ([[OTHER, rest]] if rest else [])


def _read(values: Any) -> Fate | None:
    *numbers, pairs, classes = values
    given = dict(zip(_NUMBERS, numbers, strict=True))
    took = given.pop("took_ms")
    if not all(type(n) is int and n >= 0 for n in (*given.values(), *pairs, took or 0)):
        return None
    lags = [0] * (len(LAG.bounds) + 1) if pairs else []
    for place, count in zip(pairs[::2], pairs[1::2], strict=True):
        lags[place] += count
    named: Counter[str] = Counter()
    for name, count in classes:
        named[str(name)] += int(count)
    return Fate(**given, took_ms=took, lags=tuple(lags), classes=named)
