"""What verify compares, and what it finds."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from console.errors import MisuseError
from producer.contract import Item

Kind: TypeAlias = Literal["missing", "stale", "left over", "hidden", "shown", "edited"]

KINDS: Final[Mapping[Kind, str]] = {
    "missing": "in the table, not in the index",
    "stale": "the document is of another state of the item",
    "left over": "in the index, not in the table",
    "hidden": "hidden from search, though its document function shows it",
    "shown": "found by searches, though its document function hides it",
    "edited": "the document is not what its item makes it (only with --content)",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one item's document lies. key None: a document that no key leads to."""

    id: str
    routing: str | None
    key: Item | None


@dataclass(frozen=True, slots=True)
class Doc:
    """A document as found: without its content, unless that was asked for."""

    seq_no: int
    primary_term: int
    state: str | None
    digest: str | None
    key: str | None
    time: int | None = None
    read: int | None = None
    content: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, and the two versions that it is between."""

    kind: Kind
    place: Place
    item: str | None
    """Digest of the item; None: there is none."""
    doc: int | None
    """The document's seq_no; None: there is none."""
    why: str = ""
    time: int | None = None
    """Time of the newest change that the document has taken in, in milliseconds."""

    def is_same(self, before: "Finding") -> bool:
        """Whether neither side has moved in between."""
        return (self.kind, self.item) == (before.kind, before.item) and self.is_unmoved(before)

    def is_unmoved(self, before: "Finding") -> bool:
        """Whether the document has not been written in between, whatever became of its item."""
        return self.doc == before.doc

    def is_after(self, ms: int) -> bool:
        """Whether the document has taken in a change of after that moment."""
        return self.time is not None and self.time > ms


def write_finding(table: str, finding: Finding) -> str:
    """A line of a file of keys."""
    fields = {
        "table": table,
        "kind": finding.kind,
        "id": finding.place.id,
        "routing": finding.place.routing,
        "key": finding.place.key,
        "item": finding.item,
        "doc": finding.doc,
        "why": finding.why,
        "time": finding.time,
    }
    return json.dumps(fields, ensure_ascii=False)


def read_finding(line: str, table: str) -> Finding:
    """The inverse. Raises ValueError in words."""
    fields = json.loads(line)
    if not _is_line(fields):
        raise ValueError("no line of a file of keys")
    if fields.get("table") != table:
        raise ValueError(f"it is of the table {fields.get('table')!r:.100}")
    if fields.get("kind") not in KINDS:
        raise ValueError(f"an unknown kind {fields.get('kind')!r:.60}")
    key = fields.get("key")
    if key is not None and not _is_key(key):
        raise ValueError("its key is none")
    place = Place(fields["id"], fields.get("routing"), key)
    return Finding(
        fields["kind"],
        place,
        fields.get("item"),
        fields.get("doc"),
        fields.get("why") or "",
        fields.get("time"),
    )


def _is_line(fields: object) -> bool:
    return isinstance(fields, dict) and isinstance(fields.get("id"), str)


def _is_key(key: object) -> bool:
    return isinstance(key, dict) and all(
        isinstance(typed, dict) and len(typed) == 1 for typed in key.values()
    )


def read_findings(path: Path, table: str) -> Iterator[Finding]:
    """Every line of a file of keys. Raises MisuseError naming the line that is wrong."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield read_finding(line, table)
                except (ValueError, KeyError, TypeError) as error:
                    raise MisuseError(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise MisuseError(f"cannot read {path}: {error}") from error
