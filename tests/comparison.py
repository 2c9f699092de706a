"""Index against table, document by document."""

from typing import Any

from producer.contract import Item
from worker.cluster import Cluster, path
from worker.documents import make_document
from worker.mappings import META
from worker.tables import Table


def read_live(cluster: Cluster, table: Table[Any]) -> dict[str, dict[str, Any]]:
    """Every document that a search can find, without the worker's own object."""
    cluster.request("POST", path(table.write_alias, "_refresh"))
    answer = cluster.request("POST", path(table.alias, "_search"), body={"size": 10_000})
    assert answer.status == 200, answer
    hits = answer.body["hits"]["hits"]
    assert len(hits) < 10_000
    return {hit["_id"]: {k: v for k, v in hit["_source"].items() if k != META} for hit in hits}


def expected(table: Table[Any], items: dict[str, Item]) -> dict[str, dict[str, Any]]:
    documents = {name: make_document(table, item) for name, item in items.items()}
    return {name: dict(fields) for name, fields in documents.items() if fields is not None}


def differences(
    cluster: Cluster, table: Table[Any], items: dict[str, Item]
) -> dict[str, list[str]]:
    """What is missing, left over or stale, item by item."""
    want, have = expected(table, items), read_live(cluster, table)
    found = {
        "missing": sorted(want.keys() - have.keys()),
        "left over": sorted(have.keys() - want.keys()),
        "stale": sorted(name for name in want.keys() & have.keys() if want[name] != have[name]),
    }
    return {kind: names for kind, names in found.items() if names}
