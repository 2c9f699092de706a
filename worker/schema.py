"""The indexes behind a table's aliases: made where there are none, never altered."""

import logging
from typing import Any

from worker.cluster import Cluster, path
from worker.errors import ConfigurationError, UnavailableError
from worker.mappings import META
from worker.tables import Table, compare_mappings, index_body
from worker.view import Destination, View, check_declared, find_view

log = logging.getLogger(__name__)


def ensure_index(cluster: Cluster, table: Table[Any]) -> str:
    """Make the table's index and aliases, or check those that are there; answer the index's name.

    One that was deleted is made anew, and is empty until a backfill; the log says so.

    That is the index which searches see; while a rebuild runs both are checked, each against its
    own declaration. Safe when several workers start at once. Raises ConfigurationError where what
    is there was not made from this declaration; UnavailableError when the cluster does not answer.
    """
    view = find_view(cluster, table) or _create(cluster, table)
    check_declared(table, view)
    problems: list[str] = []
    served: list[str] = []
    for destination in view:
        live = read_index(cluster, destination.index)
        problems += _compare(table, destination, live)
        if table.alias in live["aliases"]:
            served.append(destination.index)
    if len(served) != 1:
        problems.append(f"the alias {table.alias} covers {len(served)} of its indexes, not one")
    if problems:
        raise ConfigurationError(
            f"the index of the table {table.name} does not agree with its declaration: "
            + "; ".join(problems),
            hint="an index is never altered: restore the declaration, or raise its version and"
            " rebuild",
        )
    return served[0]


def find_index(cluster: Cluster, table: Table[Any]) -> str | None:
    """The index which searches see; None if the table has none yet.

    Raises ConfigurationError where the aliases make no sense, UnavailableError.
    """
    served = find_served(cluster, table)
    return served.index if served else None


def find_served(cluster: Cluster, table: Table[Any]) -> Destination | None:
    """The destination whose index searches see, of whatever version; None if there is none yet.

    Raises ConfigurationError where the aliases make no sense, UnavailableError.
    """
    view = find_view(cluster, table)
    if len(view) < 2:
        return view[0] if view else None
    served = [one for one in view if table.alias in read_index(cluster, one.index)["aliases"]]
    return (served or view)[0]


def alias_body() -> dict[str, Any]:
    """The read alias: hides tombstones and hidden documents from every search."""
    return {"filter": {"term": {f"{META}.state": "live"}}}


def make_index(cluster: Cluster, table: Table[Any], extra: dict[str, Any]) -> bool:
    """Make the index of this declaration's version; False if there is one of that name already.

    extra: more of the request's body, such as aliases. Raises ConfigurationError for what the
    cluster refuses, UnavailableError.
    """
    index = table.index_name(table.version)
    answer = cluster.request("PUT", path(index), body={**index_body(table), **extra})
    if answer.status == 200:
        return True
    if answer.error == "resource_already_exists_exception":
        return False
    if answer.error in ("invalid_alias_name_exception", "invalid_index_name_exception"):
        raise ConfigurationError(
            f"cannot make {index}: {answer.reason}",
            hint=f"choose another alias for the table {table.name}, or remove what has its name",
        )
    if answer.status == 400:
        raise ConfigurationError(
            f"the cluster refuses the mappings or settings of {table.name}: {answer.reason}",
            hint="correct the Table declaration",
        )
    raise UnavailableError(f"cannot make {index}: {answer.error} {answer.reason}")


def read_index(cluster: Cluster, index: str) -> dict[str, Any]:
    """An index as the cluster shows it: aliases, mappings, settings. Raises UnavailableError."""
    answer = cluster.request("GET", path(index))
    if answer.status != 200 or index not in answer.body:
        raise UnavailableError(f"cannot read {index}: {answer.error} {answer.reason}")
    live: dict[str, Any] = answer.body[index]
    return live


def _create(cluster: Cluster, table: Table[Any]) -> View:
    aliases = {table.alias: alias_body(), table.write_alias: {"is_write_index": True}}
    if make_index(cluster, table, {"aliases": aliases}):
        log.warning(
            "the index of the table %s is new and empty: `sluice backfill %s` brings what the"
            " table already holds",
            table.name,
            table.name,
        )
    return (Destination(table.version, table.index_name(table.version), table.write_alias),)


def _compare(table: Table[Any], destination: Destination, live: dict[str, Any]) -> list[str]:
    """Where a living index is not what its version's declaration makes."""
    declared = table.declaration(destination.version)
    problems = compare_mappings(index_body(declared or table), live["mappings"])
    read = live["aliases"].get(table.alias)
    if read is not None and read.get("filter") != alias_body()["filter"]:
        problems.append(f"the alias {table.alias} does not hide deleted documents")
    if destination.alias not in live["aliases"]:
        problems.append(f"the alias {destination.alias} does not cover it")
    return [f"{destination.index}: {problem}" for problem in problems]
