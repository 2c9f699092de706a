"""Where a rebuild stands. The cluster knows, and nobody else: aliases, and the new mapping's _meta.

The aliases say what is written to and what is read; what they cannot say (how far the copy is,
whether it was verified) lies in `_meta.sluice.rebuild` of the new index.

For other commands, such as `sluice status`: `read_stand` asks the cluster; `describe` is pure and
says it in plain values. Its `phase` is `none` (nothing to do), `due` (a newer version is declared),
one of PHASES while a rebuild is under way, or `swapped` (searches see the new index, and `finish`
is what is left); `next` is the command that comes next, or None.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from console.errors import MisuseError
from worker.cluster import Cluster, path
from worker.errors import ConfigurationError, UnavailableError
from worker.schema import read_index
from worker.tables import Table
from worker.view import Destination, check_declared, find_view

Phase: TypeAlias = Literal["created", "joining", "copying", "copied", "verified"]
PHASES: Final[Mapping[str, str]] = {
    "created": "the new index is there, and nobody writes to it yet",
    "joining": "both indexes are written; not yet proven for every worker",
    "copying": "both indexes are written by everybody; the copy is under way",
    "copied": "everything is copied, not yet verified",
    "verified": "the new index equals the table",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A range of ids of the old index: behind the part before it, up to `until`."""

    until: str | None = None
    """None: there is no end."""
    after: str | None = None
    """Everything up to this id is copied; None: nothing yet."""
    done: bool = False
    copied: int = 0
    refused: int = 0
    """Documents that the new mapping or document function would not take."""
    foreign: int = 0
    """Documents of the old index that Sluice did not write: not copied."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What `_meta.sluice.rebuild` says. Times in milliseconds."""

    phase: Phase = "created"
    parts: tuple[Part, ...] = (Part(),)
    """Of the copy, in the order of ids."""
    began: int = 0
    changed: int = 0
    check: str = ""
    """A checkpoint (`console/checkpoint.py`) of the comparison before the swap, while it runs."""

    @property
    def copied(self) -> int:
        """Documents copied so far, in all parts."""
        return sum(part.copied for part in self.parts)

    @property
    def checked(self) -> int:
        """Items compared so far, if the comparison is under way."""
        try:
            units = json.loads(self.check)["units"].values()
            return sum(int(unit["counts"].get("items", 0)) for unit in units)
        except (ValueError, KeyError, TypeError, AttributeError):
            return 0


def merge(told: Progress, mine: Mapping[int, Part]) -> Progress:
    """What the cluster says of a copy, with what one host knows of its own parts. Pure.

    Two hosts may overwrite each other's word, for a mapping is replaced as a whole. What is lost
    so is only that a part was further: it is told again, or copied again.
    """
    parts = tuple(mine.get(number, part) for number, part in enumerate(told.parts))
    over = told.phase == "copying" and all(part.done for part in parts)
    return replace(told, parts=parts, phase="copied" if over else told.phase)


@dataclass(frozen=True, slots=True)
class Stand:
    """A table's indexes. new: None unless a rebuild is under way."""

    table: Table[Any]
    old: Destination
    new: Destination | None
    served: str
    """The index that searches see."""
    progress: Progress

    @property
    def pair(self) -> tuple[Destination, Destination]:
        """Old and new. Raises MisuseError if no rebuild is under way."""
        if self.new is None:
            raise MisuseError(
                f"no rebuild of {self.table.name} is under way",
                hint=f"sluice rebuild {self.table.name} start",
            )
        return self.old, self.new

    @property
    def is_swapped(self) -> bool:
        """Whether searches see the new index already."""
        return self.new is not None and self.served == self.new.index

    def declared(self, destination: Destination) -> Table[Any]:
        """The declaration that an index is made from."""
        found = self.table.declaration(destination.version)
        if found is None:
            raise ConfigurationError(f"version {destination.version} is not declared")
        return found


def read_stand(cluster: Cluster, table: Table[Any]) -> Stand:
    """Where the table stands now.

    Raises MisuseError if it has no index, ConfigurationError where aliases or declarations make no
    sense, UnavailableError.
    """
    view = find_view(cluster, table)
    if not view:
        raise MisuseError(
            f"the table {table.name} has no index yet", hint="the worker makes it when it starts"
        )
    check_declared(table, view)
    living = {one.index: read_index(cluster, one.index) for one in view}
    served = [name for name, live in living.items() if table.alias in live["aliases"]]
    if len(served) != 1:
        raise ConfigurationError(
            f"the alias {table.alias} covers {len(served)} indexes of {table.name}, not one"
        )
    if len(view) == 1:
        return Stand(table, view[0], None, served[0], Progress())
    old, new = view
    return Stand(table, old, new, served[0], read_progress(living[new.index]["mappings"]))


def read_progress(mappings: Mapping[str, Any]) -> Progress:
    """What an index's mapping says of its rebuild. Raises ConfigurationError if it says nothing."""
    said = mappings.get("_meta", {}).get("sluice", {}).get("rebuild")
    if not isinstance(said, Mapping) or said.get("phase") not in get_args(Phase):
        raise ConfigurationError("the new index says nothing of a rebuild in _meta.sluice.rebuild")
    try:
        parts = tuple(Part(**part) for part in said.get("parts", [{}]))
    except TypeError as error:
        raise ConfigurationError("the new index says of its rebuild what nobody knows") from error
    known = {field.name for field in fields(Progress)} - {"parts"}
    return Progress(parts=parts, **{name: said[name] for name in known & said.keys()})


def write_progress(cluster: Cluster, index: str, progress: Progress) -> bool:
    """Keep progress in the index's mapping; whether every node has taken that change.

    Cluster states are applied in order: once every node has this one, none has an older view of
    any alias. Raises UnavailableError.
    """
    meta = read_index(cluster, index)["mappings"].get("_meta", {})
    meta["sluice"] = {**meta.get("sluice", {}), "rebuild": asdict(progress)}
    answer = cluster.request("PUT", path(index, "_mapping"), body={"_meta": meta})
    if answer.status != 200:
        raise UnavailableError(f"cannot keep the progress in {index}: {answer.error}")
    return bool(answer.body.get("acknowledged"))


def describe(stand: Stand) -> dict[str, Any]:
    """A stand for programs, and the command that comes next. Pure.

    Always: table, served, old, phase, next. While a rebuild is under way also new, copied, refused,
    foreign, parts, parts_copied, checked (items compared so far, while that is under way), began
    and changed (milliseconds).
    """
    name = stand.table.name
    facts: dict[str, Any] = {"table": name, "served": stand.served, "old": stand.old.index}
    if stand.new is None:
        newest = stand.table.version
        due = newest > stand.old.version
        return facts | {
            "phase": "due" if due else "none",
            "declared": newest,
            "next": f"sluice rebuild {name} start" if due else None,
        }
    parts = stand.progress.parts
    progress = {
        "phase": stand.progress.phase,
        **{n: sum(getattr(one, n) for one in parts) for n in ("copied", "refused", "foreign")},
        "parts": len(parts),
        "parts_copied": sum(part.done for part in parts),
        "checked": stand.progress.checked,
        "began": stand.progress.began,
        "changed": stand.progress.changed,
    }
    if stand.is_swapped:
        return facts | progress | {"new": stand.new.index, "phase": "swapped",
                                   "next": f"sluice rebuild {name} finish"}  # fmt: skip
    following = "swap" if stand.progress.phase == "verified" else "run"
    return facts | progress | {"new": stand.new.index, "next": f"sluice rebuild {name} {following}"}


def tell_progress(facts: Mapping[str, Any]) -> str:
    """How far a rebuild under way is, for people. Pure. facts: as `describe` says them."""
    parts = f"{facts['copied']:,} copied, {facts['parts_copied']} of {facts['parts']} parts"
    return parts + (f", {facts['checked']:,} items compared" if facts["checked"] else "")
