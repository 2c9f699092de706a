"""Writers that never rest: random edits, deletions, large items and poison, until told to stop."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KEYS = 300
LARGE = ["", "abc", "x"] * 4_000
"""An attribute that makes an item too large for a message of 32 KiB."""


@dataclass
class Writer:
    """One thread; it alone writes its keys, so what it last wrote is what the table holds."""

    name: int
    table: Any
    seed: int
    is_behind: Callable[[], bool] = lambda: False
    """Whether the stream is: DynamoDB Local reads the slower, the further behind its reader is."""
    pause_s: float = 0.02
    poisoned: set[str] = field(default_factory=set)
    writes: int = 0
    deletes: int = 0
    large: int = 0
    poison: int = 0

    def run(self, stop: threading.Event) -> None:
        rng = random.Random(f"{self.seed}-{self.name}")
        while not stop.is_set():
            if self.is_behind():
                stop.wait(0.5)
                continue
            self.write_one(rng)
            stop.wait(self.pause_s * rng.random() * 2)

    def write_one(self, rng: random.Random) -> None:
        key = f"w{self.name}-{rng.randrange(KEYS)}"
        chance = rng.random()
        self.writes += 1
        if chance < 0.2:
            self.table.delete_item(Key={"id": key})
            self.poisoned.discard(key)
            self.deletes += 1
            return
        item = {"id": key, "title": f"revision {self.writes}", "views": self.writes}
        if chance < 0.22:
            item["views"] = "no number"
            self.poison += 1
        elif chance < 0.24:
            item["many"] = LARGE
            self.large += 1
        (self.poisoned.add if chance < 0.22 else self.poisoned.discard)(key)
        self.table.put_item(Item=item)

    def mend(self) -> None:
        """Write what the cluster takes over everything that it would refuse."""
        for key in sorted(self.poisoned):
            self.table.put_item(Item={"id": key, "title": "mended", "views": 0})
        self.poisoned.clear()
