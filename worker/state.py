"""What each worker says of itself in the cluster, for whoever looks from elsewhere.

One document for each worker, in an index of its own beside the tables' (`sluice status` reads
them), and one for each queue that an operator has spoken to: the word that opens its valves. A
worker that was killed leaves its document behind: `at` says how old it is.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from worker.cluster import Answer, Cluster, path
from worker.errors import UnavailableError

INDEX: Final = "sluice-workers"

STALE_MS: Final = 60_000
"""A worker that has not written for so long is dead or cut off: six writes were missed."""

FORGET_MS: Final = 86_400_000
"""A document so old is nobody's any more, and is deleted by the next worker of its queue."""

WINDOW_S: Final = 300
"""What the histogram of lags covers."""

MOST: Final = 1_000
"""Workers of one queue that `read_states` tells of."""

TIMEOUT_S: Final = 5.0

BY_CHARACTERS: Final = 200
"""Of an operator's name, for it ends in logs."""

_KEYWORD: Final = {"type": "keyword"}
_DATE: Final = {"type": "date"}
_BODY: Final[Mapping[str, Any]] = {
    "settings": {
        "index": {"hidden": True, "number_of_shards": 1, "auto_expand_replicas": "0-1"},
    },
    "mappings": {
        "dynamic": False,
        "properties": {
            "kind": _KEYWORD,
            "queue": _KEYWORD,
            "worker": _KEYWORD,
            "at": _DATE,
            "open_at": _DATE,
        },
    },
}
"""Only what is searched for is mapped; the rest is kept as it was written."""

Stand: TypeAlias = Literal["open", "shut", "trial"]
"""Of the breaker and of the valve: `open` lets messages through, `shut` none, and `trial` only
the one that finds out."""


@dataclass(frozen=True, slots=True)
class ValveState:
    """The valve of one worker. Times in milliseconds since the epoch, by that worker's clock."""

    state: Stand = "open"
    since: int = 0
    """When it came into this state."""
    trial_at: int | None = None
    """When a shut valve lets one message through to find out; None unless it is shut."""
    why: str = ""
    """What shut it, in words without any document's content; empty while it is open."""


@dataclass(frozen=True, slots=True)
class LagCounts:
    """How old live changes were at the end of their bulk, over the last `window_s` seconds."""

    window_s: int = WINDOW_S
    bounds_s: tuple[float, ...] = ()
    """Upper bounds of the buckets, ascending, in seconds."""
    counts: tuple[int, ...] = ()
    """Changes in each bucket, and one more: those above the last bound."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a worker has done since its start."""

    changes: int = 0
    applied: int = 0
    obsolete: int = 0
    """Older than what was there, or folded into a newer one of their chunk."""
    refused: int = 0
    conflicts: int = 0
    """Writes decided again."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker, as it last said. Times in milliseconds since the epoch, by that worker's clock.

    `read_state` and `write_state` say how it stands in the index.
    """

    queue: str
    """Name of the queue it drains."""
    worker: str
    """`host:pid` of its main process."""
    at: int
    """When it wrote this. Older than STALE_MS: it is dead, or cut off from the cluster."""
    started: int
    concurrency: int = 0
    polling: bool = False
    """Whether its poll loop comes round; it does during a pause too."""
    breaker: Stand = "open"
    """`open` unless the cluster is away."""
    valve: ValveState = field(default_factory=ValveState)
    in_work: int = 0
    """Messages with its child processes, or on their way there."""
    held: int = 0
    """Messages it holds on to until an outage is over."""
    lag: LagCounts = field(default_factory=LagCounts)
    totals: Totals = field(default_factory=Totals)
    refused: Mapping[str, int] = field(default_factory=dict)
    """Refused changes by error class, since its start."""


@dataclass(frozen=True, slots=True)
class Word:
    """What an operator said to every worker of a queue."""

    open_at: int
    """Valves that shut before this open. Milliseconds since the epoch."""
    by: str


def write_state(state: WorkerState) -> dict[str, Any]:
    """The document."""
    return {"kind": "worker", **asdict(state)}


def read_state(document: Mapping[str, Any]) -> WorkerState | None:
    """The inverse; None for what is no worker's document. A field that it lacks, or that is of
    another type, has its default."""
    queue, worker, at = (document.get(name) for name in ("queue", "worker", "at"))
    if document.get("kind") != "worker" or not isinstance(at, int):
        return None
    if not isinstance(queue, str) or not isinstance(worker, str):
        return None
    valve, lag = _object(document, "valve"), _object(document, "lag")
    totals, refused = _object(document, "totals"), _object(document, "refused")
    return WorkerState(
        queue=queue,
        worker=worker,
        at=at,
        started=_count(document, "started"),
        concurrency=_count(document, "concurrency"),
        polling=document.get("polling") is True,
        breaker=_stand(document.get("breaker")),
        valve=ValveState(
            state=_stand(valve.get("state")),
            since=_count(valve, "since"),
            trial_at=_count(valve, "trial_at") or None,
            why=str(valve.get("why") or ""),
        ),
        in_work=_count(document, "in_work"),
        held=_count(document, "held"),
        lag=LagCounts(
            window_s=_count(lag, "window_s"),
            bounds_s=_numbers(lag.get("bounds_s")),
            counts=tuple(int(count) for count in _numbers(lag.get("counts"))),
        ),
        totals=Totals(**{name: _count(totals, name) for name in Totals.__slots__}),
        refused={name: _count(refused, name) for name in refused},
    )


def state_id(queue: str, worker: str) -> str:
    """The id of a worker's document. No queue's name holds a colon."""
    return f"{queue}:{worker}"


def word_id(queue: str) -> str:
    """The id of the document that holds an operator's word."""
    return f"valve:{queue}"


def ensure_state_index(cluster: Cluster) -> None:
    """Make the index if there is none. Safe when several start at once. Raises UnavailableError."""
    answer = cluster.request("PUT", path(INDEX), body=_BODY, timeout_s=TIMEOUT_S)
    if answer.status != 200 and answer.error != "resource_already_exists_exception":
        raise _refused("make", answer)


def put_state(cluster: Cluster, state: WorkerState) -> None:
    """Write a worker's document; the index must be there. Raises UnavailableError."""
    _put(cluster, state_id(state.queue, state.worker), write_state(state))


def delete_state(cluster: Cluster, queue: str, worker: str) -> None:
    """Remove a worker's document, if there is one. Raises UnavailableError."""
    answer = cluster.request(
        "DELETE", path(INDEX, "_doc", state_id(queue, worker)), timeout_s=TIMEOUT_S
    )
    if answer.status not in (200, 404):
        raise _refused("delete from", answer)


def read_states(cluster: Cluster, queue: str) -> list[WorkerState]:
    """What each worker of the queue last said, by name; empty if none ever wrote.

    Those that were killed are among them: see `WorkerState.at`. Raises UnavailableError.
    """
    terms = [{"term": {"kind": "worker"}}, {"term": {"queue": queue}}]
    answer = cluster.request(
        "POST",
        path(INDEX, "_search"),
        body={"size": MOST, "query": {"bool": {"filter": terms}}},
        timeout_s=TIMEOUT_S,
    )
    if answer.error == "index_not_found_exception":
        return []
    if answer.status != 200:
        raise _refused("read", answer)
    found = (read_state(hit["_source"]) for hit in answer.body["hits"]["hits"])
    return sorted((state for state in found if state is not None), key=lambda one: one.worker)


def request_open(cluster: Cluster, queue: str, now_ms: int, by: str) -> Word:
    """An operator's word: every valve of this queue's workers that is not open opens, within 15 s
    (by the default of SLUICE_STATE_S).

    now_ms: milliseconds since the epoch. by: who says so, for the workers' logs. A worker whose
    clock is ahead of this one obeys too. Raises UnavailableError.
    """
    ensure_state_index(cluster)
    said = [state.valve.since + 1 for state in read_states(cluster, queue)]
    word = Word(max([now_ms, *said]), by[:BY_CHARACTERS])
    document = {"kind": "valve", "queue": queue, "open_at": word.open_at, "by": word.by}
    _put(cluster, word_id(queue), document)
    return word


def read_word(cluster: Cluster, queue: str) -> Word | None:
    """The last word to this queue's workers; None if there is none, or no index.

    Raises UnavailableError.
    """
    answer = cluster.request("GET", path(INDEX, "_doc", word_id(queue)), timeout_s=TIMEOUT_S)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise _refused("read", answer)
    document = answer.body.get("_source") or {}
    open_at = document.get("open_at")
    return Word(open_at, str(document.get("by", ""))) if isinstance(open_at, int) else None


def _put(cluster: Cluster, id: str, document: Mapping[str, Any]) -> None:
    answer = cluster.request("PUT", path(INDEX, "_doc", id), body=document, timeout_s=TIMEOUT_S)
    if answer.status not in (200, 201):
        raise _refused("write to", answer)


def _refused(verb: str, answer: Answer) -> UnavailableError:
    return UnavailableError(
        f"cannot {verb} {INDEX}: {answer.status} {answer.error} {answer.reason:.200}"
    )


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    return value if isinstance(value, int) else 0


def _stand(value: object) -> Stand:
    return next((stand for stand in get_args(Stand) if stand == value), "open")


def _numbers(values: object) -> tuple[float, ...]:
    if not isinstance(values, list):
        return ()
    return tuple(value for value in values if isinstance(value, int | float))
