"""The tables of one run; names come from its environment, so that runs never meet."""

import os
from typing import Any

from worker.tables import Table

_RUN = os.environ.get("UPKEEP_RUN", "run")


def show_unless_secret(item: dict[str, Any]) -> dict[str, Any] | None:
    return None if item.get("secret") else item


items: Table[Any] = Table(f"{_RUN}.items", alias=f"{_RUN}-items")
shown: Table[Any] = Table(f"{_RUN}-shown", document=show_unless_secret, routing=("owner",))


def count_words(item: dict[str, Any]) -> dict[str, Any] | None:
    return None if item.get("secret") else {**item, "words": len(item.get("title", "").split())}


if os.environ.get("UPKEEP_DEPLOYED") == "2":
    items = Table(
        f"{_RUN}.items",
        alias=f"{_RUN}-items",
        document=count_words,
        version=2,
        previous=items,
    )
    shown = Table(
        f"{_RUN}-shown", document=count_words, routing=("owner",), version=2, previous=shown
    )
