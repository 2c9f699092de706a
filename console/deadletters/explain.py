"""What `show` says of a dead letter: each change, and the document it would have become."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from console.deadletters.model import (
    Letter,
    Received,
    Record,
    read_contents,
)
from producer.contract import Change, Chunk
from worker.deadletters import write_time
from worker.documents import make_document
from worker.errors import RefusedError, UnavailableError
from worker.identity import document_id, key_text
from worker.tables import Table


@dataclass(frozen=True, slots=True)
class Explainer:
    """Makes documents as the worker would. `tables` is empty where none are at hand."""

    tables: Mapping[str, Table[Any]]
    fetch: Callable[[Change], Change]
    """Puts the images of a claim check into their change, as the worker does."""
    max_receives: int

    def explain(self, received: Received, letter: Letter) -> dict[str, Any]:
        """All that is known of a letter, ready for JSON."""
        contents = read_contents(received.body)
        said = describe_letter(letter)
        if letter.tried is None and received.moved:
            said["tried"] = self.max_receives
        if isinstance(contents, Chunk):
            said["changes"] = [self._explain_change(contents, c) for c in contents.changes]
        elif isinstance(contents, Record):
            said["record"] = contents.value
        else:
            said["body"] = contents.body
        return said

    def _explain_change(self, chunk: Chunk, change: Change) -> dict[str, Any]:
        said: dict[str, Any] = {
            "kind": change.kind,
            "key": key_text(change.key),
            "at": write_time(change.at),
            "stream": chunk.stream,
            "sequence": change.sequence,
        }
        try:
            return said | {"id": document_id(change.key)} | self._make(chunk.table, change)
        except (RefusedError, UnavailableError) as error:
            return said | {"document": None, "note": str(error)}

    def _make(self, name: str, change: Change) -> dict[str, Any]:
        image = change.new
        if change.overflow is not None and change.kind != "REMOVE":
            image = self.fetch(change).new
        if image is None:
            return {"document": None, "note": "deletes the document"}
        table = self.tables.get(name)
        document = make_document(table or Table(name), image)
        if document is None:
            return {"document": None, "note": "the table's document function hides the item"}
        if table is None:
            why = f"as for a plain Table({name!r}): no module of SLUICE_TABLES declares the table"
            return {"document": document, "note": why}
        return {"document": document}


def describe_letter(letter: Letter) -> dict[str, Any]:
    """A letter for programs: nothing of what its documents hold."""
    return {
        "message": letter.message,
        "error": letter.error,
        "reason": letter.reason,
        "table": letter.table,
        "index": letter.index,
        "origin": letter.origin,
        "kind": letter.kind,
        "ids": list(letter.ids),
        "keys": list(letter.keys),
        "first_seen": write_time(letter.first_ms),
        "tried": letter.tried,
        "since": write_time(letter.since_ms),
        "receives": letter.receives,
        "bytes": letter.bytes,
    }
