"""How the cluster stands: whether it does now what every task needs of it.

It decides whether a failed trial met an outage or is a matter of its message alone, and keeps
trials from hanging in a cluster that does not answer. What only some messages need (the overflow
bucket, DynamoDB, the dead-letter queue) is not asked: those that need it are set aside by
themselves.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from worker.cluster import Cluster, path
from worker.errors import UnansweredError, UnavailableError
from worker.inquiry import Standing, in_thread
from worker.outcomes import Outcome, classify
from worker.tables import Table
from worker.view import ClusterViews

HASTE_S: Final = 2.0
"""Time of each request, for a quick answer: one that hangs must not hide the cluster's return."""

ABSENT: Final = "~probe"
"""No item's document: `worker.identity` writes nothing but ~n, ~b and ~h with a tilde in front."""


class Lookout:
    """A probe that answers within seconds, and yet finds a cluster that is slow and no worse.

    Where a hasty look finds silence, a patient one begins beside it, and a later call says what it
    found: to a cluster that takes longer than HASTE_S for everything, trials would else never go.
    """

    def __init__(self, cluster: Cluster, tables: Collection[Table[Any]], patience_s: float) -> None:
        self._cluster = cluster
        self._tables = tables
        self._patience_s = patience_s
        self._patient: Future[Standing] | None = None

    def __call__(self) -> Standing:
        """Look once. For one thread at a time."""
        standing = look(self._cluster, self._tables, HASTE_S)
        if standing != "silent":
            return standing
        if self._patient is None:
            self._patient = in_thread(lambda: look(self._cluster, self._tables, self._patience_s))
        elif self._patient.done():
            standing, self._patient = self._patient.result(), None
        return standing


def look(cluster: Cluster, tables: Iterable[Table[Any]], timeout_s: float) -> Standing:
    """Whether the cluster answers, no index is red, and each gives a read and takes a write.

    The write updates a document that is not there: it goes the way of every bulk, through alias,
    blocks and the queue of writes, and changes nothing. Both name a routing, for the tables whose
    mapping requires one. A cluster that still answers reads while it takes no writes is away all
    the same. A red index is silent: a write waits for its shard.
    timeout_s: of each request.
    """
    try:
        aliases = sorted(
            one.alias
            for table in tables
            for one in ClusterViews(cluster, timeout_s=timeout_s).resolve(table)
        )
        health = cluster.request(
            "GET", path("_cluster", "health", ",".join(aliases)), timeout_s=timeout_s
        )
        if health.status != 200:
            return "refusing"
        if health.body.get("status") == "red":
            return "silent"
        return _try_out(cluster, aliases, timeout_s)
    except UnansweredError:
        return "silent"
    except UnavailableError:
        return "refusing"


def _try_out(cluster: Cluster, aliases: Sequence[str], timeout_s: float) -> Standing:
    works = _read(cluster, aliases, timeout_s) and _write(cluster, aliases, timeout_s)
    return "well" if works else "refusing"


def _read(cluster: Cluster, aliases: Sequence[str], timeout_s: float) -> bool:
    docs = [{"_index": alias, "_id": ABSENT, "routing": ABSENT} for alias in aliases]
    answer = cluster.request("POST", "/_mget", body={"docs": docs}, timeout_s=timeout_s)
    return answer.status == 200 and not any("error" in doc for doc in answer.body["docs"])


def _write(cluster: Cluster, aliases: Sequence[str], timeout_s: float) -> bool:
    lines = "".join(
        json.dumps({"update": {"_index": alias, "_id": ABSENT, "routing": ABSENT}})
        + '\n{"doc": {}}\n'
        for alias in aliases
    )
    answer = cluster.request(
        "POST",
        "/_bulk",
        params={"require_alias": "true"},
        lines=lines.encode(),
        timeout_s=timeout_s,
    )
    if answer.status != 200:
        return False
    results = [item["update"] for item in answer.body["items"]]
    return all(
        classify(result["status"], (result.get("error") or {}).get("type")) is Outcome.CONFLICT
        for result in results
    )
