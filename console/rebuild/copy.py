"""The copy: every document of the old index, tombstones too, read anew from the table.

The old index is cut into ranges of ids, its parts. Each is walked in the order of ids by one thread
at a time, page by page; its checkpoint is the id up to which it is done. A kill loses the pages in
work, which are then done again. Several hosts may take a share of the parts each.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from console.checkpoint import Share
from console.errors import InterruptedByUserError, MisuseError
from console.parallel import run_units
from console.persistence import Persistence
from console.rebuild.stand import Part, Progress, merge, read_progress, write_progress
from console.rebuild.writing import Known, Writer, Written
from console.verify.documents import bound
from worker.cluster import Cluster, path
from worker.errors import RefusedError, SluiceError, UnavailableError
from worker.identity import document_id, read_key_text
from worker.mappings import META
from worker.plan import read_meta
from worker.schema import read_index

PAGE: Final = 500
PARTS: Final = 16
SAVE_EVERY_MS: Final = 2_000
"""A checkpoint is a change of the cluster's state: dear to the master, so not one for each page."""

SAVES: Final = 10
"""How often a host tells of its end, should another's checkpoint have overwritten it."""

REMEMBERED: Final = 20
"""Refusals that are told in full."""

_FIELDS: Final = [f"{META}.{n}" for n in ("id", "label", "sequence", "time", "read", "key")]
_SAMPLE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """Documents of the old index, in the order of ids."""

    known: list[Known]
    foreign: int
    """Documents that Sluice did not write, or that somebody changed: no key leads to them."""
    last: str


@dataclass
class Copier:
    """Copies one host's share of the old index into the new one, from where the progress stands."""

    cluster: Cluster
    old: str
    new: str
    writer: Writer
    concurrency: int
    clock_ms: Callable[[], int]
    stop: threading.Event
    advance: Callable[[int], None]
    page: int = PAGE
    share: Share = Share()  # noqa: RUF009 - frozen
    persistence: Persistence = field(default_factory=Persistence)
    refusals: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The first few of this run."""
    _began: int = 0
    _bounds: list[str | None] = field(default_factory=list)
    _mine: dict[int, Part] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _saved_ms: int = 0

    def run(self, progress: Progress) -> Progress:
        """Copy the rest of this share; the progress is `copied` once every share is.

        Raises UnavailableError, InterruptedByUserError; what was done until then is kept. Raises
        MisuseError if the rebuild is no longer the one that it was.
        """
        self._began, self._saved_ms = progress.began, self.clock_ms()
        self._bounds = [None, *(part.until for part in progress.parts)]
        mine = self.share.take(str(number) for number in range(len(progress.parts)))
        self._mine = {int(name): progress.parts[int(name)] for name in mine}
        left = [name for name in mine if not self._mine[int(name)].done]
        try:
            run_units(left, self._copy_part, self.stop, self.concurrency)
        except BaseException:
            with suppress(SluiceError):
                self._save()
            raise
        told = self._save()
        for _ in range(SAVES):
            if all(told.parts[number].done for number in self._mine):
                break
            told = self._save()
        return told

    def _copy_part(self, name: str) -> None:
        number = int(name)
        part = self._mine[number]
        after = self._bounds[number] if part.after is None else part.after
        for page in walk(self.cluster, self.old, after, self.page, part.until):
            if self.stop.is_set():
                raise InterruptedByUserError("interrupted")
            done = self.writer.write(page.known, is_new=True) if page.known else Written()
            self._take(number, page, done)
        with self._lock:
            self._mine[number] = replace(self._mine[number], done=True)

    def _take(self, number: int, page: Page, done: Written) -> None:
        self.advance(len(page.known))
        with self._lock:
            for name in list(done.refusals)[: max(0, REMEMBERED - len(self.refusals))]:
                self.refusals[name] = done.refusals[name]
            part = self._mine[number]
            self._mine[number] = replace(
                part,
                after=page.last,
                copied=part.copied + len(page.known),
                refused=part.refused + done.counts["refused"],
                foreign=part.foreign + page.foreign,
            )
            due = self.clock_ms() - self._saved_ms >= SAVE_EVERY_MS
            if due:
                self._saved_ms = self.clock_ms()
        if due:
            self._save()

    def _save(self) -> Progress:
        """Tell of this share alone; what others have told stays as it is, or is told anew."""
        return self.persistence.ask(self._tell)

    def _tell(self) -> Progress:
        with self._lock:
            self._saved_ms = self.clock_ms()
            told = read_progress(read_index(self.cluster, self.new)["mappings"])
            if told.began != self._began:
                raise MisuseError(f"{self.new} is being rebuilt anew by somebody else")
            merged = replace(merge(told, self._mine), changed=self._saved_ms)
            write_progress(self.cluster, self.new, merged)
            return read_progress(read_index(self.cluster, self.new)["mappings"])


def walk(
    cluster: Cluster, index: str, after: str | None, size: int, until: str | None = None
) -> Iterator[Page]:
    """Every document behind an id and up to another, by id, as the last refresh left it.

    Raises UnavailableError.
    """
    while True:
        body: dict[str, Any] = {
            "query": bound(f"{META}.id", after, until),
            "size": size,
            "sort": [{f"{META}.id": "asc"}],
            "_source": _FIELDS,
            "track_total_hits": False,
        }
        hits = _search(cluster, index, body)
        if not hits:
            return
        after = str(hits[-1]["sort"][0])
        known = [one for hit in hits if (one := read_hit(hit)) is not None]
        yield Page(known, len(hits) - len(known), after)


def find_parts(cluster: Cluster, index: str, parts: int) -> tuple[Part, ...]:
    """About so many parts of about one size. Raises UnavailableError.

    Digests have nothing to do with ids: the documents of the lowest digests are a random sample.
    """
    body = {
        "query": {"exists": {"field": f"{META}.digest"}},
        "size": _SAMPLE,
        "sort": [{f"{META}.digest": "asc"}],
        "_source": [f"{META}.id"],
        "track_total_hits": False,
    }
    metas = [hit.get("_source", {}).get(META, {}) for hit in _search(cluster, index, body)]
    return cut([meta["id"] for meta in metas if isinstance(meta.get("id"), str)], parts)


def cut(ids: Sequence[str], parts: int) -> tuple[Part, ...]:
    """Parts that hold about as many of these ids each; together they hold every id. Pure."""
    # As the cluster orders keywords: UTF-8 keeps the order of code points, as Python's text does.
    ordered = sorted(set(ids))
    marks = sorted({ordered[len(ordered) * n // parts] for n in range(1, parts)} if ordered else ())
    return (*(Part(mark) for mark in marks), Part())


def count(cluster: Cluster, index: str) -> int:
    """Documents in an index, tombstones too. Raises UnavailableError."""
    answer = cluster.request("POST", path(index, "_count"))
    if answer.status != 200:
        raise UnavailableError(f"cannot count {index}: {answer.error} {answer.reason:.300}")
    return int(answer.body["count"])


def _search(cluster: Cluster, index: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = cluster.request("POST", path(index, "_search"), body=body)
    if answer.status != 200 or answer.body.get("_shards", {}).get("failed"):
        raise UnavailableError(f"cannot walk {index}: {answer.error} {answer.reason:.300}")
    hits: list[dict[str, Any]] = answer.body["hits"]["hits"]
    return hits


def read_hit(hit: dict[str, Any]) -> Known | None:
    """What a document says of its item; None if its key is none, or not its own. Pure."""
    meta = hit.get("_source", {}).get(META, {})
    try:
        key = read_key_text(meta["key"])
        return Known(key, read_meta(meta)) if document_id(key) == hit["_id"] else None
    except (KeyError, TypeError, ValueError, AttributeError, RefusedError):
        return None
