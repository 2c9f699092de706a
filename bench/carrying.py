"""The worker's own code on a chunk, with neither queue nor processes around it."""

from collections.abc import Sequence
from typing import Any, Final, NoReturn

from producer.contract import Change, Chunk, Item, decode_chunk, parse_stream_arn
from worker.apply import Applier
from worker.calls import Caller
from worker.carry import Carrier
from worker.clock import read_clock_ms
from worker.cluster import Answer, Cluster
from worker.deadletters import Letter, Tried
from worker.identity import document_id
from worker.index import Documents, Index
from worker.messages import MessageHandlers
from worker.plan import Target, fold, is_insert, state_of
from worker.tables import Table
from worker.tasks import MessageInfo
from worker.view import Destination, View

MARGIN_MS: Final = 60_000
HORIZON_MS: Final = 30 * 86_400_000
MESSAGE: Final = MessageInfo("bench", 1, None, "bench")


class Nowhere:
    """Bucket, table and dead letters of a chunk that needs none of them."""

    def fetch(self, change: Change) -> NoReturn:
        """Nothing here is that large."""
        raise NotImplementedError

    def read(self, table: str, keys: Sequence[Item]) -> NoReturn:
        """Nothing here is that old."""
        raise NotImplementedError

    def begin(self, tried: Tried) -> None:
        """Nobody would be told."""

    def send_change(self, chunk: Chunk, change: Change, letter: Letter) -> NoReturn:
        """Nothing here is refused."""
        raise NotImplementedError

    def send_body(self, body: str, letter: Letter) -> NoReturn:
        """Nor here."""
        raise NotImplementedError


class Eager(Cluster):
    """A cluster that creates everything at once: what is left is the worker's own time."""

    def __init__(self) -> None:
        """Connects to nothing."""

    def request(self, method: str, path: str, **asked: Any) -> Answer:
        """A bulk's answer, as the client would have parsed it."""
        count = asked["lines"].count(b"\n") // 2
        return Answer(200, {"items": [{"create": {"status": 201}}] * count})


class Here:
    """One index, always."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination

    def resolve(self, table: Table[Any]) -> View:
        """That one."""
        return (self.destination,)


def destination_of(table: Table[Any]) -> Destination:
    """The one index of a table that was never rebuilt, as a cluster that is not asked has it."""
    return Destination(1, f"{table.alias}-v1", f"{table.alias}-write")


def build_handlers(table: Table[Any], now_ms: int) -> MessageHandlers:
    """What a child process of the worker calls for each message, on an eager cluster."""
    tables = {table.name: table}
    applier = Applier(
        tables=tables,
        documents=Index(Eager()),
        overflow=Nowhere(),
        source=Nowhere(),
        deadletters=Nowhere(),
        clock_ms=lambda: now_ms,
        margin_ms=MARGIN_MS,
        horizon_ms=HORIZON_MS,
        views=Here(destination_of(table)),
    )
    caller = Caller(tables, Nowhere(), Nowhere())
    return MessageHandlers(applier, caller, Nowhere(), "bench", lambda: now_ms)


def carry_payload(
    payload: str,
    table: Table[Any],
    destination: Destination,
    documents: Documents,
    *,
    create_first: bool = True,
) -> int:
    """Carry a chunk into an index as the worker does; how many changes it held.

    create_first: whether an insert is created before anything is read.
    """
    chunk = decode_chunk(payload)
    label = parse_stream_arn(chunk.stream).label if chunk.stream else None
    targets = fold(
        Target(document_id(change.key), None, change, state_of(change, label))
        for change in chunk.changes
    )
    carrier = Carrier(table, destination, documents, Nowhere(), MARGIN_MS, read_clock_ms)
    carried = carrier.carry(targets, is_insert if create_first else lambda _: False)
    if carried.refused:
        raise RuntimeError(f"refused: {next(iter(carried.refused.values()))}")
    return len(chunk.changes)
