"""Items to try a declaration on: from a file of JSON, or a sample of the table itself."""

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

from console.errors import MisuseError
from console.scan import Page
from console.verify.sample import choose_segments
from kit.errors import UnwritableItemError
from kit.typed import write_item
from producer.contract import Item

TYPES: Final = frozenset({"S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "M", "L"})
"""Of a typed value (AttributeValue, DynamoDB API reference)."""


class Scanner(Protocol):
    """What a sample is taken from: `console.scan.TableReader`."""

    def scan(
        self, segment: int, segments: int, after: Item | None, most: int | None = None
    ) -> Page:
        """One page of a segment."""


def sample_items(reader: Scanner, items: int, wanted: int, rng: random.Random) -> list[Item]:
    """About so many items, from segments of the table taken at random; all if it holds fewer.

    items: how many the table holds, about. Raises what the reader raises.
    """
    segments = choose_segments(items, wanted)
    found: list[Item] = []
    for segment in rng.sample(range(segments), segments):
        place: Item | None = None
        while True:
            page = reader.scan(segment, segments, place, most=wanted)
            found += page.items
            place = page.after
            if len(found) >= wanted:
                return found[:wanted]
            if place is None:
                break
    return found


def read_items(path: Path) -> list[Item]:
    """The items of a file, typed. Raises MisuseError, naming the place, for what holds none.

    The file: an array, an object with `Items` (as `aws dynamodb scan` prints it), or an object a
    line (also `{"Item": …}`, as an export has them). Each item typed as DynamoDB writes it, or
    plain JSON: text becomes S, a number N, an object M, an array L.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"cannot read {path}: {error}") from error
    return [_read_item(entry, f"{path}, {place}") for place, entry in _split(text, path)]


def is_typed(item: dict[str, Any]) -> bool:
    """Whether an object is an item as DynamoDB writes it, and not plain JSON."""
    return bool(item) and all(
        isinstance(value, dict) and len(value) == 1 and not TYPES.isdisjoint(value)
        for value in item.values()
    )


def _split(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        whole = _parse(text)
    except ValueError:
        yield from _split_lines(text, path)
        return
    if isinstance(whole, dict) and isinstance(whole.get("Items"), list):
        whole = whole["Items"]
    entries = whole if isinstance(whole, list) else [whole]
    for number, entry in enumerate(entries, start=1):
        yield f"item {number}", entry


def _split_lines(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    # Not splitlines: JSON may hold U+2028 as it is.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"line {number}", _parse(line)
            except ValueError as error:
                raise MisuseError(
                    f"{path}, line {number}: no JSON: {error}",
                    hint="give a JSON array, or an item a line",
                ) from error


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _read_item(entry: Any, place: str) -> Item:
    if not isinstance(entry, dict):
        raise MisuseError(f"{place}: no item but {type(entry).__name__}")
    if entry.keys() == {"Item"} and isinstance(entry["Item"], dict):
        entry = entry["Item"]
    if is_typed(entry):
        typed: Item = entry
        return typed
    try:
        return write_item(entry)
    except UnwritableItemError as error:
        raise MisuseError(f"{place}: {error}") from error
