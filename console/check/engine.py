"""Where a declaration is tried: a throw-away index, on a cluster or on the embedded engine."""

import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from console.check.trial import Refusal
from console.errors import InterruptedByUserError
from console.local.services import start_osmem
from console.settings import CLUSTER, read_part
from kit.mapped import Mapped
from worker.cluster import Answer, Cluster, connect, path
from worker.errors import UnavailableError
from worker.index import Index, Result, Write
from worker.mappings import walk_fields
from worker.outcomes import Outcome
from worker.schema import alias_body
from worker.tables import Table, index_body

PREFIX: Final = "sluice-check-"
BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Engine:
    """What judges."""

    cluster: Cluster
    name: str
    embedded: bool
    """It accepts more than Elasticsearch does: fewer settings and limits are known to it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What the engine made of a declaration and its documents."""

    refused: str = ""
    """Its words about mappings or settings; empty if it takes them."""
    indexed: int = 0
    refusals: tuple[Refusal, ...] = ()
    added: Mapping[str, str] | None = None
    """Fields that no mapping declares and documents brought along: type by path."""


@contextmanager
def open_engine(environment: Mapping[str, str], *, embedded: bool) -> Iterator[Engine]:
    """The cluster of the settings; the embedded engine if asked for, or if no cluster is set.

    Raises ConfigurationError for settings, ServiceError where the embedded engine cannot run.
    """
    if embedded or not environment.get("SLUICE_ELASTICSEARCH_URL", "").strip():
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, start_osmem(Path(folder)) as own:
            yield from _connected(connect(own.url), "the embedded engine", embedded=True)
        return
    settings = read_part(environment, CLUSTER)
    parts = urlsplit(settings.elasticsearch_url)
    cluster = connect(
        settings.elasticsearch_url,
        api_key=settings.elasticsearch_api_key or None,
        ca_certs=settings.elasticsearch_ca_certs or None,
        timeout_s=settings.elasticsearch_timeout_s,
    )
    # Without the account that a URL may hold.
    host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    yield from _connected(cluster, f"the cluster at {host}", embedded=False)


def _connected(cluster: Cluster, name: str, *, embedded: bool) -> Iterator[Engine]:
    try:
        yield Engine(cluster, name, embedded)
    finally:
        cluster.close()


def try_index(
    engine: Engine, table: Table[Any], writes: Sequence[Write], stop: threading.Event
) -> Tried:
    """Make an index as the table declares it, index the documents, delete it again.

    Raises UnavailableError, InterruptedByUserError. Whatever is raised, the index is deleted, or
    its name is told.
    """
    with _throwaway(engine.cluster, table) as (index, refused):
        if refused:
            return Tried(refused=refused)
        before = _read_fields(engine.cluster, index)
        refusals = list(_write(engine, table, f"{index}-write", writes, stop))
        after = _read_fields(engine.cluster, index)
    added = {path: after[path] for path in sorted(after.keys() - before.keys())}
    return Tried("", len(writes) - len(refusals), tuple(refusals), added)


@contextmanager
def _throwaway(cluster: Cluster, table: Table[Any]) -> Iterator[tuple[str, str]]:
    """The index's name, and why the engine refuses to make it."""
    index = f"{PREFIX}{uuid.uuid4().hex[:16]}"
    aliases = {index + "-read": alias_body(), f"{index}-write": {"is_write_index": True}}
    # A cluster that is away is found out by a question, after which nothing can be left behind.
    cluster.request("GET", path(index))
    try:
        answer = _make(cluster, index, {**index_body(table), "aliases": aliases})
        refused = "" if answer.status == 200 else f"{answer.error}: {answer.reason}"
        yield index, refused
    finally:
        _delete(cluster, index)


def _make(cluster: Cluster, index: str, body: Mapping[str, Any]) -> Answer:
    try:
        return cluster.request("PUT", path(index), body=body)
    except UnavailableError as error:
        raise UnavailableError(
            f"cannot make the throw-away index: {error}",
            hint="docs/check.md names the privileges that the API key needs",
        ) from error


def _delete(cluster: Cluster, index: str) -> None:
    """Also where it is not known to be there: the answer to its making may have been lost."""
    try:
        answer = cluster.request("DELETE", path(index))
        left = "" if answer.status in (200, 404) else f"{answer.error} {answer.reason}"
    except UnavailableError as error:
        left = str(error)
    if left:
        click.echo(f"sluice: the index {index} may be left behind, delete it: {left}", err=True)


def _write(
    engine: Engine, table: Table[Any], alias: str, writes: Sequence[Write], stop: threading.Event
) -> Iterator[Refusal]:
    documents = Index(engine.cluster)
    # The kit knows limits that the embedded engine does not.
    mapped = Mapped.of(index_body(table)) if engine.embedded else None
    for start in range(0, len(writes), BATCH):
        if stop.is_set():
            raise InterruptedByUserError("interrupted")
        batch = writes[start : start + BATCH]
        for write, result in zip(batch, documents.write(alias, batch), strict=True):
            refusal = _judge(write, result, mapped)
            if refusal is not None:
                yield refusal


def _judge(write: Write, result: Result, mapped: Mapped | None) -> Refusal | None:
    key = _name(write)
    if result.outcome is Outcome.REFUSED:
        return Refusal(result.error, result.reason, key)
    if result.outcome is not Outcome.DONE:
        raise UnavailableError(f"the cluster cannot take documents now: {result.error}")
    foreseen = mapped.take(write.content.fields) if mapped and write.content else None
    return None if foreseen is None else Refusal(*foreseen, key)


def _name(write: Write) -> str:
    known = write.content is not None and write.operation.target.change.key
    if known and write.content is not None:
        return write.content.key
    return f"item {int(write.operation.target.id) + 1}"


def _read_fields(cluster: Cluster, index: str) -> dict[str, str]:
    answer = cluster.request("GET", path(index, "_mapping"))
    if answer.status != 200:
        raise UnavailableError(f"cannot read the mapping of {index}: {answer.error}")
    mapping = answer.body[index]["mappings"]
    return {name: str(field.get("type", "object")) for name, field in walk_fields(mapping)}
