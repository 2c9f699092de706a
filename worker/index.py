"""The edge to the documents of one table: read their versions, write them in bulk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from worker.cluster import Answer, Cluster, path
from worker.errors import MovedError, RefusedError, UnavailableError
from worker.mappings import META
from worker.order import Verdict
from worker.outcomes import Outcome, classify
from worker.plan import Content, Operation, Target, Version, read_meta, write_meta

BULK_BYTES: Final = 8 * 1024 * 1024
"""A bulk is cut at this size: well below Elasticsearch's http.max_content_length of 100 MB."""

_POSITIONS: Final = ",".join(f"{META}.{name}" for name in ("label", "sequence", "time", "read"))

_RESULTS: Final = "items.*.status,items.*.error,error,status"
"""What is read of a bulk's answer: a seventh of its bytes."""

_MOVED: Final = frozenset({"index_not_found_exception", "alias_not_found_exception"})


def blame(error: str) -> type[UnavailableError]:
    """The error to raise for a type of the cluster's: MovedError if the alias is not there."""
    return MovedError if error in _MOVED else UnavailableError


@dataclass(frozen=True, slots=True)
class Write:
    """An operation and what it writes; content None for a note."""

    operation: Operation
    content: Content | None
    at_ms: int | None = None
    """When it is written."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one write. error and reason are the cluster's, unless it is done."""

    target: Target
    outcome: Outcome
    error: str = ""
    reason: str = ""


class Documents(Protocol):
    """Documents of one write alias."""

    def find(self, alias: str, targets: Sequence[Target]) -> Mapping[str, Version]:
        """What is there, by id. Raises UnavailableError; MovedError if there is no such alias."""

    def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
        """Carry writes out, each on its own condition; one result each, in order.

        Raises UnavailableError when it is not known what became of them.
        """


class Index:
    """`Documents` on Elasticsearch."""

    def __init__(self, cluster: Cluster, bulk_bytes: int = BULK_BYTES) -> None:
        self._cluster = cluster
        self._bulk_bytes = bulk_bytes

    def find(self, alias: str, targets: Sequence[Target]) -> Mapping[str, Version]:
        if not targets:
            return {}
        docs = [
            {"_id": t.id} if t.routing is None else {"_id": t.id, "routing": t.routing}
            for t in targets
        ]
        answer = self._cluster.request(
            "POST",
            path(alias, "_mget"),
            params={"_source_includes": _POSITIONS},
            body={"docs": docs},
        )
        if answer.status != 200:
            raise blame(answer.error)(
                f"cannot read positions of {alias}: {answer.error} {answer.reason:.300}"
            )
        found = (_read_version(alias, doc) for doc in answer.body["docs"])
        return {name: version for name, version in found if version is not None}

    def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
        lines = [_try_lines(write) for write in writes]
        bodies = [body for body in lines if isinstance(body, bytes)]
        fit = [write for write, body in zip(writes, lines, strict=True) if isinstance(body, bytes)]
        results: list[Result] = []
        for start, end in _batches([len(body) for body in bodies], self._bulk_bytes):
            results += self._bulk(alias, fit[start:end], bodies[start:end])
        sent = iter(results)
        return [body if isinstance(body, Result) else next(sent) for body in lines]

    def _bulk(self, alias: str, writes: Sequence[Write], bodies: Sequence[bytes]) -> list[Result]:
        answer = self._cluster.request(
            "POST",
            path(alias, "_bulk"),
            params={"require_alias": "true", "filter_path": _RESULTS},
            lines=b"".join(bodies),
        )
        if answer.status == 200:
            items = answer.body["items"]
            return [_read_result(w, i) for w, i in zip(writes, items, strict=True)]
        if answer.status not in (400, 413):
            raise blame(answer.error)(
                f"cannot write to {alias}: {answer.error} {answer.reason:.300}"
            )
        if len(writes) == 1:
            return [_refuse(writes[0], answer)]
        # One guilty item can fail a whole request: halve until it is alone.
        half = len(writes) // 2
        return self._bulk(alias, writes[:half], bodies[:half]) + self._bulk(
            alias, writes[half:], bodies[half:]
        )


def serialize(value: Mapping[str, Any]) -> bytes:
    """A document as JSON. Raises RefusedError for what JSON cannot carry."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise RefusedError("UnserializableDocument", str(error)) from error


def _try_lines(write: Write) -> bytes | Result:
    """A write's lines, or its refusal: one document without a form in JSON holds up no other."""
    try:
        return _write_lines(write)
    except RefusedError as error:
        return Result(write.operation.target, Outcome.REFUSED, error.error, error.reason)


def _write_lines(write: Write) -> bytes:
    operation = write.operation
    target, found = operation.target, operation.found
    action: dict[str, Any] = {"_id": target.id}
    if target.routing is not None:
        action["routing"] = target.routing
    if found is not None:
        action |= {"if_seq_no": found.seq_no, "if_primary_term": found.primary_term}
    meta = write_meta(target.id, operation.stored, write.content, write.at_ms)
    if operation.verdict is Verdict.NOTE or write.content is None:
        return b"%b\n%b\n" % (orjson.dumps({"update": action}), serialize({"doc": {META: meta}}))
    name = "create" if found is None else "index"
    return b"%b\n%b\n" % (
        orjson.dumps({name: action}),
        serialize({**write.content.fields, META: meta}),
    )


def _batches(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Cut a sequence of sizes into ranges of at most `limit` in sum, or of one."""
    ranges: list[tuple[int, int]] = []
    start = total = 0
    for place, size in enumerate(sizes):
        if place > start and total + size > limit:
            ranges.append((start, place))
            start, total = place, 0
        total += size
    if start < len(sizes):
        ranges.append((start, len(sizes)))
    return ranges


def _read_version(alias: str, doc: Mapping[str, Any]) -> tuple[str, Version | None]:
    if "error" in doc:
        error = doc["error"]
        kind = str(error.get("type", "") if isinstance(error, dict) else error)
        raise blame(kind)(f"cannot read a document of {alias}: {kind:.300}")
    if not doc.get("found"):
        return doc["_id"], None
    meta = doc.get("_source", {}).get(META)
    # A document without our object was written by somebody else: any statement supersedes it.
    stored = read_meta(meta if isinstance(meta, dict) else {})
    return doc["_id"], Version(stored, doc["_seq_no"], doc["_primary_term"])


def _read_result(write: Write, item: Mapping[str, Any]) -> Result:
    (answer,) = item.values()
    error = answer.get("error") or {}
    if isinstance(error, str):
        error = {"type": error, "reason": error}
    outcome = classify(answer["status"], error.get("type"))
    target = write.operation.target
    if outcome is Outcome.DONE:
        return Result(target, outcome)
    return Result(target, outcome, str(error.get("type", "")), _words(error))


def _refuse(write: Write, answer: Answer) -> Result:
    error = answer.error or f"http_{answer.status}"
    return Result(write.operation.target, Outcome.REFUSED, error, answer.reason)


def _words(error: Mapping[str, Any]) -> str:
    words = str(error.get("reason", ""))
    cause = error.get("caused_by")
    while isinstance(cause, dict):
        words += f"; caused by {cause.get('type')}: {cause.get('reason')}"
        cause = cause.get("caused_by")
    return words
