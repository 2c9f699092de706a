"""The tables of one run; names come from its environment, so that runs never meet."""

import os
import time
from typing import Any

from worker.tables import Table

_RUN = os.environ.get("UPKEEP_RUN", "run")

if _AHEAD_DAYS := int(os.environ.get("UPKEEP_AHEAD_DAYS", "0")):
    # Whoever loads these tables, a worker or a command, lives so many days from now.
    _now_ns = time.time_ns
    time.time_ns = lambda: _now_ns() + _AHEAD_DAYS * 86_400 * 10**9


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
