"""The tables of one end-to-end run; names come from its environment, so that runs never meet."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.plain import tables as plain
from examples.readings import tables as measured
from worker.tables import Event, Handler, Remove, Table

_RUN = os.environ.get("E2E_RUN", "run")
_NOTES = os.environ.get("E2E_NOTES", "")


def _note(handler: str, changes: Sequence[Event[Any]]) -> None:
    """A line for each batch: one write, so that processes do not mix theirs."""
    told = [
        [
            type(c).__name__,
            c.meta.key["number"],
            bool(isinstance(c, Remove) and c.old),
            c.meta.index,
        ]
        for c in changes
    ]
    with Path(_NOTES).open("a") as notes:
        notes.write(json.dumps({"handler": handler, "changes": told}) + "\n")


async def ship(changes: Sequence[Event[dict[str, Any]]]) -> None:
    _note("ship", changes)


def stock(changes: Sequence[Remove[dict[str, Any]]]) -> None:
    """Fails until somebody has mended what it needs."""
    if not Path(f"{_NOTES}.mended").exists():
        raise OSError("the stock does not answer")
    _note("stock", changes)


def for_run(table: Table[Any], run: str) -> Table[Any]:
    """An example, declared as it is, under a name of one run."""
    options: dict[str, Any] = {"model": table.model, "document": table.document}
    return Table(
        f"{run}-{table.name}",
        mappings=table.mappings,
        settings=table.settings,
        routing=table.routing,
        **options,
    )


run_notes, run_readings = for_run(plain.notes, _RUN), for_run(measured.readings, _RUN)
run_packets = for_run(measured.packets, _RUN)
posts: Table[Any] = Table(
    f"{_RUN}-Posts.v1",
    mappings={"properties": {"views": {"type": "long"}, "title": {"type": "text"}}},
)
parts: Table[Any] = Table(
    f"{_RUN}_parts",
    routing=("maker",),
    handlers=[Handler("ALL", ship), Handler("REMOVE", stock, attempts=2)],
    strategy="concurrent",
)
