"""`sluice tombstones`: removes the marks of deleted items once nothing can need them.

A tombstone keeps a late change from bringing its item back. Beyond the horizon the worker asks the
table instead, so a tombstone may go once change and read are both older than that, with a day's
margin. Hidden documents are no tombstones.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click
import orjson

from console.deadletters.sweep import interruptible
from console.errors import InterruptedByUserError
from console.help import write_epilog
from console.session import Session
from worker.clock import read_clock_ms
from worker.cluster import Cluster, path
from worker.errors import UnavailableError
from worker.mappings import META
from worker.view import find_view

DAY_MS: Final = 86_400_000
MARGIN_MS: Final = DAY_MS
PAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did."""

    removed: int
    kept: int
    """Changed since they were found: they are tombstones of something newer, or no longer any."""


def cutoff_ms(now_ms: int, horizon_days: int) -> int:
    """Tombstones of changes and reads before this may go."""
    return now_ms - horizon_days * DAY_MS - MARGIN_MS


def old_tombstones(before_ms: int) -> dict[str, Any]:
    """The query for them. A tombstone without any time is not ours to judge, and stays."""
    times = (f"{META}.time", f"{META}.read")
    return {
        "bool": {
            "filter": [
                {"term": {f"{META}.state": "deleted"}},
                {
                    "bool": {
                        "should": [{"exists": {"field": name}} for name in times],
                        "minimum_should_match": 1,
                    }
                },
            ],
            "must_not": [{"range": {name: {"gte": before_ms}}} for name in times],
        }
    }


def count_tombstones(cluster: Cluster, index: str, before_ms: int) -> int:
    """How many a purge would remove. Raises UnavailableError."""
    answer = cluster.request(
        "POST", path(index, "_count"), body={"query": old_tombstones(before_ms)}
    )
    if answer.status != 200:
        raise UnavailableError(f"cannot count in {index}: {answer.error} {answer.reason:.300}")
    return int(answer.body["count"])


def purge(cluster: Cluster, index: str, before_ms: int, stop: threading.Event) -> Purged:
    """Remove tombstones older than `before_ms`, each only if it is still the one that was found.

    index: an index or an alias of several. Raises UnavailableError, InterruptedByUserError; what
    was removed until then is removed, and a repetition goes on.
    """
    removed = kept = 0
    while True:
        if stop.is_set():
            raise InterruptedByUserError("interrupted")
        hits = _find(cluster, index, before_ms)
        if not hits:
            return Purged(removed, kept)
        done = _delete(cluster, hits)
        removed += done
        kept += len(hits) - done
        if not done:
            return Purged(removed, kept)


def _find(cluster: Cluster, index: str, before_ms: int) -> list[dict[str, Any]]:
    answer = cluster.request("POST", path(index, "_refresh"))
    if answer.status == 200:
        body = {
            "query": old_tombstones(before_ms),
            "size": PAGE,
            "_source": False,
            "seq_no_primary_term": True,
        }
        answer = cluster.request("POST", path(index, "_search"), body=body)
    if answer.status != 200:
        raise UnavailableError(f"cannot search {index}: {answer.error} {answer.reason:.300}")
    hits: list[dict[str, Any]] = answer.body["hits"]["hits"]
    return hits


def _delete(cluster: Cluster, hits: list[dict[str, Any]]) -> int:
    lines = b"".join(orjson.dumps({"delete": _action(hit)}) + b"\n" for hit in hits)
    answer = cluster.request("POST", "/_bulk", lines=lines)
    if answer.status != 200:
        raise UnavailableError(f"cannot delete: {answer.error} {answer.reason:.300}")
    results = [item["delete"] for item in answer.body["items"]]
    failed = [r for r in results if r["status"] not in (200, 404, 409)]
    if failed:
        raise UnavailableError(f"cannot delete {len(failed):,} tombstones: {failed[0]!s:.300}")
    return sum(result["status"] in (200, 404) for result in results)


def _action(hit: Mapping[str, Any]) -> dict[str, Any]:
    action = {
        "_index": hit["_index"],
        "_id": hit["_id"],
        "if_seq_no": hit["_seq_no"],
        "if_primary_term": hit["_primary_term"],
    }
    return action | ({"routing": hit["_routing"]} if "_routing" in hit else {})


_CODES: Final = "0 fine, 1 unavailable, 2 misuse"


@click.group(epilog=write_epilog("sluice tombstones purge", codes=_CODES))
def command() -> None:
    """Tombstones: the marks of deleted items, which keep late changes from bringing them back."""


@command.command(
    "purge",
    epilog=write_epilog(
        "sluice tombstones purge", "sluice tombstones purge posts --dry-run", codes=_CODES
    ),
)
@click.argument("tables", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def purge_command(*, tables: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Remove tombstones older than SLUICE_HORIZON_DAYS and a day. Without TABLES: of every table.

    SLUICE_HORIZON_DAYS must be what the workers have, or longer. Run it once a day.
    """
    session = Session(os.environ)
    before = cutoff_ms(read_clock_ms(), session.settings.horizon_days)
    chosen = [session.table(name) for name in tables] or list(session.tables.values())
    told: list[dict[str, Any]] = []
    with interruptible() as stop:
        for table in chosen:
            session.index(table)
            # While a rebuild runs there are two indexes, with tombstones of their own.
            for destination in find_view(session.cluster, table):
                line = {"table": table.name, "index": destination.index}
                told.append(line | _purge_index(session, destination.alias, before, stop, dry_run))
    if as_json:
        click.echo(json.dumps({"horizon_days": session.settings.horizon_days, "tables": told}))
    else:
        for line in told:
            name = f"{line.pop('table')} ({line.pop('index')})"
            click.echo(f"{name}: " + ", ".join(f"{count:,} {word}" for word, count in line.items()))
    return 0


def _purge_index(
    session: Session, alias: str, before: int, stop: threading.Event, dry_run: bool
) -> dict[str, int]:
    if dry_run:
        return {"old": count_tombstones(session.cluster, alias, before)}
    done = purge(session.cluster, alias, before, stop)
    return {"removed": done.removed, "kept": done.kept}
