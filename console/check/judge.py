"""What is wrong with a table, or with the index it already has. Pure but for `judge_index`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from console.session import TableFacts
from worker.calls import check_limits
from worker.cluster import Cluster
from worker.errors import ConfigurationError
from worker.schema import read_index
from worker.tables import Table, compare_mappings, index_body
from worker.view import check_declared, find_view

_NEW: Final = frozenset({"NEW_IMAGE", "NEW_AND_OLD_IMAGES"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the table or its index. Only what is wrong makes the check fail."""

    level: Literal["wrong", "note"]
    what: str
    remedy: str = ""


def judge_table(table: Table[Any], facts: TableFacts) -> list[Finding]:
    """What DynamoDB says of the table, against its declaration."""
    found: list[Finding] = []
    name = table.name
    if facts.status not in ("ACTIVE", "UPDATING"):
        found.append(Finding("wrong", f"the table {name} is {facts.status}"))
    if not facts.stream_on:
        found.append(Finding("wrong", f"the stream of {name} is off", _switch_on(name)))
    elif facts.view not in _NEW:
        found.append(
            Finding(
                "wrong",
                f"the stream of {name} carries {facts.view}: what an item became is not in it",
                f"switch it off and on anew: {_switch_on(name)}",
            )
        )
    elif table.handlers and facts.view == "NEW_IMAGE":
        found.append(Finding("note", f"the stream of {name} carries no old images for handlers"))
    return found + judge_routing(table, facts.keys)


def judge_handlers(table: Table[Any], limit_s: float) -> list[Finding]:
    """Handlers that the worker would refuse to start with. limit_s: of a task."""
    try:
        check_limits([table], limit_s)
    except ConfigurationError as error:
        return [Finding("wrong", f"workers would not start: {error}")]
    return []


def judge_routing(table: Table[Any], keys: Sequence[str]) -> list[Finding]:
    """Routing that the key cannot give. keys: the table's key attributes; empty if unknown."""
    strange = [attribute for attribute in table.routing if attribute not in keys]
    if not keys or not strange:
        return []
    return [
        Finding(
            "wrong",
            f"routing names {', '.join(strange)}, but the key of {table.name} is"
            f" {', '.join(keys)}: every change would be refused",
            "route by attributes of the key alone",
        )
    ]


def judge_index(cluster: Cluster, table: Table[Any]) -> list[Finding]:
    """The index that is there already, against the declaration. Reads only.

    Raises UnavailableError.
    """
    try:
        view = find_view(cluster, table)
        check_declared(table, view)
    except ConfigurationError as error:
        return [Finding("wrong", str(error))]
    if not view:
        return [Finding("note", f"{table.name} has no index here yet; the worker makes it")]
    if table.version not in {one.version for one in view}:
        indexes = ", ".join(one.index for one in view)
        return [
            Finding(
                "note",
                f"version {table.version} is declared, and {indexes} is served",
                f"after the deploy: sluice rebuild {table.name}",
            )
        ]
    found: list[Finding] = []
    for one in view:
        declared = index_body(table.declaration(one.version) or table)
        live = read_index(cluster, one.index)["mappings"]
        found += [
            Finding(
                "wrong",
                f"{one.index}: {problem}",
                "workers would not start: restore the declaration, or raise its version and"
                " rebuild (docs/rebuild.md)",
            )
            for problem in compare_mappings(declared, live)
        ]
    return found


def _switch_on(name: str) -> str:
    return (
        f"aws dynamodb update-table --table-name {name}"
        " --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE"
    )
