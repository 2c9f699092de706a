"""Proof that nothing is still on its way to the old index alone.

The change of aliases is one moment, but a bulk that had looked the old alias up before it may land
after it: on Elasticsearch 8 a few in a hundred do, under load. What such a bulk writes the new
index would never hear of. So:

1. every node has taken a cluster state later than the change of aliases. From here on, whoever
   looks the old alias up finds nothing;
2. every write request that was in work on any node after that has ended. Whatever looked the old
   alias up earlier is among them, for a request is in that list before it looks anything up;
3. what they wrote is refreshed, so that the copy's searches see it.

It holds up nobody, and a kill leaves nothing behind that would. A worker whose bulk was refused
holds its message, looks again, and writes to both.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from console.rebuild.stand import Progress, write_progress
from worker.cluster import Cluster, path
from worker.errors import UnavailableError

WAIT_S: Final = 120.0
"""A bulk waits for a missing primary for a minute (Bulk API, `timeout`)."""

_PAUSE_S: Final = 0.05


def pass_barrier(cluster: Cluster, old: str, new: str, progress: Progress, now_ms: int) -> Progress:
    """Return once all writes go to both indexes, and all others are visible in the old one.

    Raises UnavailableError if the cluster does not prove it in time; then ask again.
    """
    joining = replace(progress, phase="joining", changed=max(now_ms, progress.changed + 1))
    deadline = time.monotonic() + WAIT_S
    while not write_progress(cluster, new, joining):
        _wait(deadline, "a node has not taken the change of aliases")
        joining = replace(joining, changed=joining.changed + 1)  # else nothing would be to take
    before = list_writes(cluster)
    while before & list_writes(cluster):
        _wait(deadline, "a write that began before the change of aliases has not ended")
    answer = cluster.request("POST", path(old, "_refresh"))
    if answer.status != 200 or answer.body.get("_shards", {}).get("failed"):
        raise UnavailableError(f"cannot refresh {old}: {answer.error} {answer.reason:.300}")
    return joining


def list_writes(cluster: Cluster) -> frozenset[str]:
    """The write requests in work now, on all nodes. Raises UnavailableError.

    None where the engine has no such list: the embedded one, which carries each request out whole.
    """
    answer = cluster.request("GET", "/_tasks", params={"actions": "indices:data/write/bulk*"})
    if answer.status == 400 and "no handler found" in str(answer.body):
        return frozenset()
    if answer.status != 200 or answer.body.get("node_failures"):
        raise UnavailableError(
            f"cannot list the writes in work: {answer.status} {answer.error}",
            hint="rebuilding needs the cluster privilege `monitor`",
        )
    return read_writes(answer.body)


def read_writes(body: Mapping[str, Any]) -> frozenset[str]:
    """The ids in an answer of the Task management API. Pure."""
    return frozenset(
        name for node in body.get("nodes", {}).values() for name in node.get("tasks", {})
    )


def _wait(deadline: float, why: str) -> None:
    if time.monotonic() > deadline:
        raise UnavailableError(f"after {WAIT_S:.0f} s {why}", hint="run the same command again")
    time.sleep(_PAUSE_S)
