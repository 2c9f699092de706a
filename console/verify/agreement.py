"""A note on the index of when it was last proven equal to its table, and under which stream.

It lies in the mapping's `_meta.sluice.agreed`, where `sluice status` finds it: a gap is closed once
index and table agreed after it. Hosts that share a comparison note their parts beside it, in
`_meta.sluice.shares`; the one that completes them makes the note of the whole, as of the earliest
beginning.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.cluster import Cluster, path
from worker.errors import UnavailableError

_TRIES: Final = 5
_PAUSE_S: Final = 1.0
"""Far longer than another host takes from reading the mapping to writing it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """When the comparison began, and the table's stream at that moment."""

    label: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a comparison agreed. Only parts of one cut make a whole."""

    number: int = 1
    of: int = 1
    segments: int = 0


WHOLE: Final = Part()


def read_agreement(mapping: Mapping[str, Any]) -> Agreement | None:
    """From an index's mapping as the cluster shows it; None if there was none yet."""
    return _read_agreed((mapping.get("_meta") or {}).get("sluice") or {})


def _read_agreed(notes: Mapping[str, Any]) -> Agreement | None:
    agreed: Any = notes.get("agreed")
    try:
        return Agreement(agreed["label"], int(agreed["at"]))
    except (KeyError, TypeError, ValueError):
        return None


def add_note(notes: Mapping[str, Any], agreement: Agreement, part: Part) -> dict[str, Any]:
    """What `_meta.sluice` says once this part is known to agree, too. Pure."""
    if part.of == 1:
        return {**notes, "agreed": {"label": agreement.label, "at": agreement.at_ms}}
    began = {**_read_shares(notes, agreement, part), str(part.number): agreement.at_ms}
    if len(began) < part.of:
        return {**notes, "shares": {**_cut(agreement, part), "began": began}}
    known = _read_agreed(notes)
    whole = Agreement(agreement.label, min(began.values()))
    newest = whole if known is None or known.at_ms < whole.at_ms else known
    rest = {name: value for name, value in notes.items() if name != "shares"}
    return {**rest, "agreed": {"label": newest.label, "at": newest.at_ms}}


def is_noted(notes: Mapping[str, Any], agreement: Agreement, part: Part) -> bool:
    """Whether a part is among those noted, or in a whole that another host has completed. Pure."""
    if part.of > 1 and notes.get("shares"):
        return str(part.number) in _read_shares(notes, agreement, part)
    known = _read_agreed(notes)
    return known is not None and known.label == agreement.label


def _cut(agreement: Agreement, part: Part) -> dict[str, Any]:
    return {"label": agreement.label, "of": part.of, "segments": part.segments}


def _read_shares(notes: Mapping[str, Any], agreement: Agreement, part: Part) -> dict[str, int]:
    """When each part of the same cut began, by its number."""
    shares = notes.get("shares")
    if not isinstance(shares, dict) or not isinstance(shares.get("began"), dict):
        return {}
    same = {name: shares.get(name) for name in ("label", "of", "segments")}
    return dict(shares["began"]) if same == _cut(agreement, part) else {}


def note_agreement(
    cluster: Cluster,
    index: str,
    agreement: Agreement,
    part: Part = WHOLE,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Write the note. Raises UnavailableError.

    A mapping is replaced as a whole, so a host that notes its own part at the same moment may
    overwrite it: a part is looked for a moment later, and written again if it is gone.
    """
    for _ in range(_TRIES):
        meta = _read_meta(cluster, index)
        noted = {**meta, "sluice": add_note(meta.get("sluice") or {}, agreement, part)}
        answer = cluster.request("PUT", path(index, "_mapping"), body={"_meta": noted})
        if answer.status != 200:
            raise UnavailableError(f"cannot note on {index} that it agrees: {answer.reason:.300}")
        if part.of == 1:
            return
        wait(_PAUSE_S)
        if is_noted(_read_meta(cluster, index).get("sluice") or {}, agreement, part):
            return
    raise UnavailableError(f"the note on {index} was overwritten {_TRIES} times")


def _read_meta(cluster: Cluster, index: str) -> dict[str, Any]:
    answer = cluster.request("GET", path(index, "_mapping"))
    if answer.status != 200 or index not in answer.body:
        raise UnavailableError(f"cannot read the mapping of {index}: {answer.reason:.300}")
    meta: dict[str, Any] = answer.body[index]["mappings"].get("_meta") or {}
    return meta
