"""Live changes of a table, and reads of it on their way, as a careless network delivers them."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from producer.contract import Change, Chunk, Item, Kind, encode_chunk, queue_name, write_envelope
from tests.convergence.history import arn
from tests.workers import Queues
from worker.wire import from_wire

KEYS: Final = 20
HELD: Final = 12
"""Messages that lie about, to be shuffled, before some of them go on."""


@dataclass
class Network:
    """Holds messages, shuffles them, repeats some, and delivers the last of them at its end."""

    rng: random.Random
    queues: Queues
    read_detour: Callable[[], list[str]]
    """What others have sent since it was last asked."""
    held: list[str] = field(default_factory=list)

    def carry(self, *bodies: str) -> None:
        """Take messages in; some of those that are here already go on."""
        self.held += [*bodies, *self.read_detour()]
        if len(self.held) >= HELD:
            self.rng.shuffle(self.held)
            self.queues.send(self.held[HELD // 2 :] + self.rng.choices(self.held, k=3))
            del self.held[HELD // 2 :]

    def close(self) -> None:
        """Deliver what is left, the oldest perhaps last."""
        self.held += self.read_detour()
        self.rng.shuffle(self.held)
        self.queues.send(self.held + self.held[: len(self.held) // 3])
        self.held.clear()


@dataclass
class Traffic:
    """Writes to a table until the context ends; `items` is then what the table holds.

    What others send into the queue `detour` travels with the changes, as late and as often.
    """

    rng: random.Random
    table: str
    dynamodb: Any
    queues: Queues
    detour: str
    """URL of a queue."""
    items: dict[str, Item] = field(default_factory=dict)
    changes: int = 0
    detoured: int = 0
    _sequence: int = 10**20
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def list_keys(self) -> list[Item]:
        """Every key that is ever written."""
        return [{"id": {"S": f"stirred-{number}"}} for number in range(KEYS)]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread:
            self._thread.join(30)
            assert not self._thread.is_alive()

    def _run(self) -> None:
        network = Network(self.rng, self.queues, self._read_detour)
        name = queue_name(self.queues.url)
        while not self._over.wait(0.01):
            chunk = Chunk(self.table, arn(self.table, "2020-01-01T00:00:00.000"), (self._change(),))
            network.carry(write_envelope(encode_chunk(chunk), name))
        network.close()

    def _change(self) -> Change:
        key = self.rng.choice(self.list_keys())
        name = key["id"]["S"]
        there = name in self.items
        kind: Kind = "INSERT" if not there else "REMOVE" if self.rng.random() < 0.3 else "MODIFY"
        self.changes += 1
        self._sequence += 10**20 + 7
        item = None if kind == "REMOVE" else {**key, "revision": {"N": str(self.changes)}}
        if item is None:
            self.dynamodb.delete_item(TableName=self.table, Key=from_wire(key))
            del self.items[name]
        else:
            self.dynamodb.put_item(TableName=self.table, Item=from_wire(item))
            self.items[name] = item
        at = time.time_ns() // 1_000_000_000 * 1_000
        return Change(kind, key, at, str(self._sequence), new=item)

    def _read_detour(self) -> list[str]:
        client = self.queues.client
        answer = client.receive_message(QueueUrl=self.detour, MaxNumberOfMessages=10)
        messages = answer.get("Messages", [])
        for message in messages:
            client.delete_message(QueueUrl=self.detour, ReceiptHandle=message["ReceiptHandle"])
        self.detoured += len(messages)
        return [message["Body"] for message in messages]
