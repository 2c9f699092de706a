"""The edge to the index: what documents were made from, by id or in the order of their digests."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from console.verify.model import Doc, Place
from worker.cluster import Answer, Cluster, path
from worker.errors import UnavailableError
from worker.mappings import META

PAGE: Final = 1_000
MOST: Final = 10_000
"""Elasticsearch's own limit of one search (index.max_result_window)."""

_FIELDS: Final = tuple(f"{META}.{n}" for n in ("state", "digest", "key", "time", "read"))
_DIGEST: Final = f"{META}.digest"
_DELETED: Final = {"term": {f"{META}.state": "deleted"}}


def find_docs(
    cluster: Cluster, index: str, places: Sequence[Place], *, content: bool = False
) -> list[Doc | None]:
    """The documents at these places, as of now; None where there is none.

    Raises UnavailableError.
    """
    if not places:
        return []
    docs = [
        {"_id": p.id} if p.routing is None else {"_id": p.id, "routing": p.routing} for p in places
    ]
    answer = cluster.request(
        "POST",
        path(index, "_mget"),
        params={} if content else {"_source_includes": ",".join(_FIELDS)},
        body={"docs": docs},
    )
    _check(answer, index)
    return [_read(doc, content) for doc in answer.body["docs"]]


def _read(doc: Mapping[str, Any], content: bool) -> Doc | None:
    if "error" in doc:
        raise UnavailableError(f"cannot read {doc.get('_id')!r}: {doc['error']!s:.300}")
    return read_doc(doc, content=content) if doc.get("found") else None


def read_doc(hit: Mapping[str, Any], *, content: bool = False) -> Doc:
    """A document from a hit or an answer of mget. What is not of our form is left out."""
    source = hit.get("_source") or {}
    meta = source.get(META)
    meta = meta if isinstance(meta, dict) else {}
    own = {name: value for name, value in source.items() if name != META} if content else None
    return Doc(
        seq_no=hit["_seq_no"],
        primary_term=hit["_primary_term"],
        state=_of(meta, "state", str),
        digest=_of(meta, "digest", str),
        key=_of(meta, "key", str),
        time=_of(meta, "time", int),
        read=_of(meta, "read", int),
        content=own,
    )


def _of(meta: Mapping[str, Any], name: str, kind: type) -> Any:
    value = meta.get(name)
    return value if isinstance(value, kind) else None


def refresh(cluster: Cluster, index: str) -> None:
    """Make every document findable that is in the index now. Raises UnavailableError."""
    _check(cluster.request("POST", path(index, "_refresh")), index)


def count_docs(cluster: Cluster, index: str) -> int:
    """Documents that `walk_digests` goes through. Raises UnavailableError."""
    answer = cluster.request("POST", path(index, "_count"), body={"query": _walked()})
    _check(answer, index)
    return int(answer.body["count"])


def cut_digests(parts: int) -> list[tuple[str | None, str | None]]:
    """So many ranges of text, together all: each above its first mark, up to its second.

    None: without a bound. What somebody wrote for a digest by hand may be any text.
    """
    marks = [_mark(part, parts) for part in range(1, parts)]
    return list(zip([None, *marks], [*marks, None], strict=True))


def _mark(part: int, parts: int) -> str:
    return f"{part * 0x1_0000_0000 // parts:08x}"


def cut_between(after: str | None, until: str | None, pieces: int) -> list[str | None]:
    """The upper ends of the pieces of a range, if all digests are cut into so many pieces. Pure.

    A page that is looked for in a small range costs the cluster that range; else each page would
    cost it the whole index.
    """
    mark = partial(_mark, parts=pieces)
    inner = range(1, pieces)
    first = 0 if after is None else bisect_right(inner, after, key=mark)
    end = len(inner) if until is None else bisect_left(inner, until, key=mark)
    return [*map(mark, inner[first:end]), until]


Located = tuple[str, str | None, Doc]
"""A document's id, its routing, and itself."""


def list_digests(
    cluster: Cluster, index: str, after: str | None, until: str | None
) -> list[str] | None:
    """The digests of all documents of a range; None if there are more than one search answers.

    No document is fetched. Raises UnavailableError.
    """
    body = {
        "query": _walked(after, until),
        "size": MOST,
        "sort": [{_DIGEST: "asc"}],
        "_source": False,
        "stored_fields": "_none_",
        "track_total_hits": False,
    }
    hits = _search(cluster, index, body)
    return [str(hit["sort"][0]) for hit in hits] if len(hits) < MOST else None


def find_by_digest(cluster: Cluster, index: str, digests: Sequence[str]) -> list[Located] | None:
    """The documents that are not deleted with these digests; None if there are too many of them.

    digests: up to PAGE. Raises UnavailableError.
    """
    named = {"terms": {_DIGEST: list(digests)}}
    body = {
        "query": {"bool": {"must_not": [_DELETED], "filter": [named]}},
        "size": MOST,
        "_source": list(_FIELDS),
        "seq_no_primary_term": True,
        "track_total_hits": False,
    }
    hits = _search(cluster, index, body)
    return [_locate(hit) for hit in hits] if len(hits) < MOST else None


def _locate(hit: Mapping[str, Any]) -> Located:
    return hit["_id"], hit.get("_routing"), read_doc(hit)


def bound(field: str, after: str | None, until: str | None) -> dict[str, Any]:
    """The query for documents with this field, its value above the one and up to the other. Pure.

    Bounds within the query, not a `search_after`: with that each page would go through every
    document before it once more.
    """
    bounds = {"gt": after, "lte": until}
    given = {name: value for name, value in bounds.items() if value is not None}
    return {"range": {field: given}} if given else {"exists": {"field": field}}


def _walked(after: str | None = None, until: str | None = None) -> dict[str, Any]:
    return {"bool": {"must_not": [_DELETED], "filter": [bound(_DIGEST, after, until)]}}


def walk_digests(
    cluster: Cluster, index: str, after: str | None, until: str | None, size: int = PAGE
) -> Iterator[tuple[list[Located], str | None]]:
    """Documents that are not deleted, by digest, in pages; each with the place to go on from.

    after, until: digests, the first excluded, the second not; None: without a bound, and for the
    place at the end. A digest covers an item's key, so only documents that somebody copied share
    one: they stand on one page.
    Raises UnavailableError, also for more copies than one search can answer.
    """
    wanted = size
    while True:
        body: dict[str, Any] = {
            "query": _walked(after, until),
            "size": wanted,
            "sort": [{_DIGEST: "asc"}],
            "_source": list(_FIELDS),
            "seq_no_primary_term": True,
            "track_total_hits": False,
        }
        hits = _search(cluster, index, body)
        last = len(hits) < wanted
        keep = hits if last else _drop_last_digest(hits)
        if not keep and wanted >= MOST:
            raise UnavailableError(f"{index} holds more than {MOST:,} copies of one document")
        if not keep and not last:
            wanted = MOST
            continue
        after = str(keep[-1]["sort"][0]) if keep else after
        yield [_locate(hit) for hit in keep], None if last else after
        if last:
            return
        wanted = size


def _drop_last_digest(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that share the last one's digest: more of them may follow."""
    last = hits[-1]["sort"][0]
    return [hit for hit in hits if hit["sort"][0] != last]


def find_foreign(cluster: Cluster, index: str) -> list[Located]:
    """Documents without our digest that are not deleted: written by somebody else. Up to MOST."""
    query = {
        "bool": {"must_not": [_DELETED, {"exists": {"field": _DIGEST}}]},
    }
    body = {"query": query, "size": MOST, "_source": list(_FIELDS), "seq_no_primary_term": True}
    return [_locate(hit) for hit in _search(cluster, index, body)]


def _search(cluster: Cluster, index: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    answer = cluster.request("POST", path(index, "_search"), body=body)
    _check(answer, index)
    if answer.body.get("timed_out") or answer.body.get("_shards", {}).get("failed"):
        raise UnavailableError(f"some shards of {index} did not answer")
    hits: list[dict[str, Any]] = answer.body["hits"]["hits"]
    return hits


def _check(answer: Answer, index: str) -> None:
    if answer.status != 200:
        raise UnavailableError(f"cannot read {index}: {answer.error} {answer.reason:.300}")
