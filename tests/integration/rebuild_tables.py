"""The table of one rebuild test, as the deploy of the day declares it."""

import os
from typing import Any

from worker.tables import Table

NAME = os.environ.get("REBUILD_TABLE", "rebuild")
DEPLOYED = int(os.environ.get("REBUILD_DEPLOYED", "1"))
"""1: before the change. 2: both versions known. 3: the new version refuses loud titles."""


def shout(item: dict[str, Any]) -> dict[str, Any] | None:
    """The new document function: another field, and quiet items hidden."""
    if item["title"] == "quiet":
        return None
    return {**item, "loud": item["title"].upper()}


def declare(name: str) -> dict[int, Table[Any]]:
    """The declarations of each deploy."""
    fields = {"id": {"type": "keyword"}, "group": {"type": "keyword"}}
    before: Table[Any] = Table(name, mappings={**fields, "title": {"type": "text"}})
    after: Table[Any] = Table(
        name,
        mappings={**fields, "title": {"type": "keyword"}, "loud": {"type": "keyword"}},
        document=shout,
        version=2,
        previous=before,
    )
    narrow: Table[Any] = Table(
        name, mappings={"title": {"type": "long"}}, version=2, previous=before
    )
    return {1: before, 2: after, 3: narrow}


deployed = declare(NAME)[DEPLOYED]
