"""Which indexes a table is written to: state of the cluster, told by its aliases alone.

Alone, version N of the index is written through one alias: `<alias>-write` for version 1,
`<alias>-write-vN` for a later one. While version M is built beside it, that alias is gone, and two
others are there: `<alias>-write-vN-beside-vM` on the old index, `<alias>-write-vM-beside-vN` on the
new. No name ever means another version or another company, so a process that still has an old view
cannot write by it: what it names is gone, and it has to look again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from worker.cluster import Cluster, path
from worker.errors import ConfigurationError, UnavailableError
from worker.tables import Table


@dataclass(frozen=True, slots=True, order=True)
class Destination:
    """One index that a table is written to."""

    version: int
    index: str
    alias: str
    """The way of whoever writes: it is there only while this view holds."""


View: TypeAlias = tuple[Destination, ...]
"""One destination, or while a rebuild runs two, the older version first."""


class Views(Protocol):
    """Where a table is written to now."""

    def resolve(self, table: Table[Any]) -> View:
        """The view, each of its versions declared. Raises UnavailableError."""


class ClusterViews:
    """`Views` as the cluster's aliases tell it."""

    def __init__(self, cluster: Cluster, timeout_s: float | None = None) -> None:
        self._cluster = cluster
        self._timeout_s = timeout_s

    def resolve(self, table: Table[Any]) -> View:
        try:
            view = find_view(self._cluster, table, self._timeout_s)
            check_declared(table, view)
        except ConfigurationError as error:
            # The message stays until a person, or a deploy, has mended what is wrong.
            raise UnavailableError(str(error)) from error
        if not view:
            raise UnavailableError(f"the table {table.name} has no index to be written to")
        return view


def find_view(cluster: Cluster, table: Table[Any], timeout_s: float | None = None) -> View:
    """The view, empty if the table has no index.

    Raises ConfigurationError where the aliases make no sense, UnavailableError.
    """
    answer = cluster.request("GET", path("_alias", f"{table.alias}-write*"), timeout_s=timeout_s)
    if answer.status not in (200, 404) or not isinstance(answer.body, dict):
        raise UnavailableError(f"cannot read the aliases of {table.alias}: {answer.error}")
    return read_view(table.alias, answer.body)


def read_view(alias: str, body: Mapping[str, Any]) -> View:
    """The view from an answer of the cluster: aliases by index. Pure.

    Raises ConfigurationError for what no step of a rebuild leaves behind.
    """
    name = re.compile(rf"{re.escape(alias)}-write(?:-v([0-9]+)(?:-beside-v([0-9]+))?)?")
    found = [
        (match, Destination(int(match[1] or 1), index, match[0]))
        for index, entry in body.items()
        if isinstance(entry, dict)
        for match in map(name.fullmatch, entry.get("aliases", {}))
        if match
    ]
    view = tuple(sorted(destination for _, destination in found))
    besides = {match[2] and int(match[2]) for match, _ in found}
    alone = besides == {None} and len(view) == 1
    pair = len(view) == 2 and besides == {one.version for one in view}
    if view and not (alone or pair):
        covered = ", ".join(f"{one.alias} on {one.index}" for one in view)
        raise ConfigurationError(
            f"the write aliases of {alias} make no view: {covered}",
            hint="one alias on one index, or two of a rebuild on one index each: remove the others",
        )
    return view


def check_declared(table: Table[Any], view: View) -> None:
    """Raise ConfigurationError if the view names a version that this table does not declare."""
    for destination in view:
        if table.declaration(destination.version) is None:
            known = ", ".join(f"{one.version}" for one in table.declarations())
            raise ConfigurationError(
                f"the table {table.name} is written to {destination.index}, version"
                f" {destination.version}; this process declares {known} alone",
                hint="deploy the declaration that has it, the older one as its `previous`",
            )
