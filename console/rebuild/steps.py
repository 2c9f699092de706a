"""The steps that change which index is written and which is read. Each may be repeated.

Every one is a single update of the cluster's aliases, which happens wholly or not at all (Update
aliases API), with what must come before and after it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from console.errors import MisuseError
from console.rebuild.stand import Progress, Stand, read_stand
from console.verify.documents import refresh
from worker.cluster import Cluster, path
from worker.errors import ConfigurationError, UnavailableError
from worker.schema import alias_body, make_index
from worker.tables import Table, compare_mappings, index_body

Action = Mapping[str, Mapping[str, Any]]


def join(cluster: Cluster, stand: Stand, now_ms: int) -> Stand:
    """Make the new index and let everybody write to both. Proven for nobody yet.

    Raises MisuseError if there is nothing to rebuild.
    """
    if stand.new is not None:
        return stand
    table, old = stand.table, stand.old
    if table.version <= old.version:
        raise MisuseError(
            f"{old.index} is of version {old.version}, the newest that is declared",
            hint=f"declare version {old.version + 1} of {table.name}, the one before it as its"
            " `previous`",
        )
    _make(cluster, table, Progress("created", began=now_ms, changed=now_ms))
    new = table.index_name(table.version)
    declared = stand.declared(old)
    update_aliases(
        cluster,
        [
            {"remove": {"index": old.index, "alias": old.alias, "must_exist": True}},
            _add(old.index, declared.beside(table.version)),
            _add(new, table.beside(old.version)),
        ],
    )
    return read_stand(cluster, table)


def swap(cluster: Cluster, stand: Stand, *, force: bool = False) -> Stand:
    """Let searches see the new index, from one moment to the next. Both stay in step.

    force: although the new index is not verified. Raises MisuseError.
    """
    old, new = stand.pair
    if stand.is_swapped:
        return stand
    if stand.progress.phase != "verified" and not force:
        raise MisuseError(
            f"{new.index} is not verified: {stand.progress.phase}",
            hint=f"sluice rebuild {stand.table.name} run, or --force",
        )
    _serve(cluster, stand.table.alias, old.index, new.index)
    return read_stand(cluster, stand.table)


def roll_back(cluster: Cluster, stand: Stand) -> Stand:
    """Let searches see the old index again, which was kept in step. Raises MisuseError."""
    old, new = stand.pair
    if stand.is_swapped:
        _serve(cluster, stand.table.alias, new.index, old.index)
    return read_stand(cluster, stand.table)


def finish(cluster: Cluster, stand: Stand) -> Stand:
    """Write to the new index alone, and remove the old one: no way back. Raises MisuseError."""
    if stand.new is None:
        _remove_left(cluster, stand)
        return stand
    if not stand.is_swapped:
        raise MisuseError(
            f"searches still see {stand.served}", hint=f"sluice rebuild {stand.table.name} swap"
        )
    _separate(cluster, stand, stand.declared(stand.new).write_alias, keep_new=True)
    _remove(cluster, stand.old.index)
    return read_stand(cluster, stand.table)


def abort(cluster: Cluster, stand: Stand) -> Stand:
    """Write to the old index alone, and remove the new one. Raises MisuseError."""
    if stand.new is None:
        _remove_left(cluster, stand)
        return stand
    if stand.is_swapped:
        raise MisuseError(
            f"searches see {stand.served} already",
            hint=f"sluice rebuild {stand.table.name} rollback",
        )
    _separate(cluster, stand, stand.declared(stand.old).write_alias, keep_new=False)
    _remove(cluster, stand.new.index)
    return read_stand(cluster, stand.table)


def update_aliases(cluster: Cluster, actions: Sequence[Action]) -> None:
    """All of these at once, or none. Raises UnavailableError, also where they no longer apply."""
    answer = cluster.request("POST", "/_aliases", body={"actions": list(actions)})
    if answer.status != 200:
        raise UnavailableError(
            f"the aliases are not as they were a moment ago: {answer.error} {answer.reason:.300}",
            hint="does somebody else rebuild this table? the same command goes on from here",
        )


def _add(index: str, alias: str) -> Action:
    return {"add": {"index": index, "alias": alias, "is_write_index": True}}


def _serve(cluster: Cluster, alias: str, before: str, after: str) -> None:
    # Each index refreshes in its own time: what searches found in one must be found in the other.
    refresh(cluster, after)
    update_aliases(
        cluster,
        [
            {"remove": {"index": before, "alias": alias, "must_exist": True}},
            {"add": {"index": after, "alias": alias, **alias_body()}},
        ],
    )
    refresh(cluster, after)  # and what the other one refreshed in that moment


def _separate(cluster: Cluster, stand: Stand, alias: str, *, keep_new: bool) -> None:
    old, new = stand.pair
    update_aliases(
        cluster,
        [
            {"remove": {"index": old.index, "alias": old.alias, "must_exist": True}},
            {"remove": {"index": new.index, "alias": new.alias, "must_exist": True}},
            _add(new.index if keep_new else old.index, alias),
        ],
    )


def _make(cluster: Cluster, table: Table[Any], progress: Progress) -> None:
    """The new index, empty. What a killed `start` made is taken; what an abort left goes."""
    index = table.index_name(table.version)
    body = index_body(table)
    body["mappings"]["_meta"]["sluice"]["rebuild"] = {
        "phase": progress.phase,
        "began": progress.began,
        "changed": progress.changed,
    }
    if make_index(cluster, table, {"mappings": body["mappings"]}):
        return
    live = _read_left(cluster, table, index)
    said = live["mappings"]["_meta"]["sluice"]["rebuild"]
    same = not compare_mappings(index_body(table), live["mappings"])
    if said.get("phase") == "created" and same and _is_empty(cluster, index):
        return
    _remove(cluster, index)
    make_index(cluster, table, {"mappings": body["mappings"]})


def _remove_left(cluster: Cluster, stand: Stand) -> None:
    """Remove the index that a killed `finish` or `abort` has left: ours, and behind no alias."""
    for version in {one.version for one in stand.table.declarations()} - {stand.old.version}:
        index = stand.table.index_name(version)
        if cluster.request("GET", path(index)).status == 200:
            _read_left(cluster, stand.table, index)
            _remove(cluster, index)


def _read_left(cluster: Cluster, table: Table[Any], index: str) -> dict[str, Any]:
    """An index that nobody may use any more. Raises ConfigurationError if somebody might."""
    answer = cluster.request("GET", path(index))
    live: dict[str, Any] = answer.body.get(index, {}) if answer.status == 200 else {}
    ours = live.get("mappings", {}).get("_meta", {}).get("sluice", {})
    if ours.get("table") != table.name or live.get("aliases"):
        raise ConfigurationError(
            f"{index} is in the way: Sluice did not make it for {table.name}, or somebody uses it",
            hint="remove it, or declare a higher version",
        )
    ours.setdefault("rebuild", {})
    return live


def _is_empty(cluster: Cluster, index: str) -> bool:
    cluster.request("POST", path(index, "_refresh"))
    return bool(cluster.request("POST", path(index, "_count")).body.get("count") == 0)


def _remove(cluster: Cluster, index: str) -> None:
    answer = cluster.request("DELETE", path(index))
    if answer.status not in (200, 404):
        raise UnavailableError(f"cannot remove {index}: {answer.error} {answer.reason:.300}")
