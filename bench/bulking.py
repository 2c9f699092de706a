"""Bulks over plain connections: what each choice of sending them costs, no client library between.

And the worker's own code on chunks, in threads or in processes, without its queue.
"""

import gzip
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import orjson
import urllib3

from bench.carrying import carry_payload
from bench.pooling import EVENT, PROCESSES, RAW
from bench.stage import Stage
from bench.tables import posts as declared
from worker.cluster import connect, path
from worker.index import Index
from worker.mappings import META
from worker.tables import index_body
from worker.view import Destination

POSITIONS: Final = ("label", "sequence", "time", "read")
CHOSEN: Final = "bench-chosen"
"""An index that chunks are carried into."""

Posts = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How bulks are sent."""

    documents: int = EVENT
    """Of one bulk: where it is cut."""
    compressed: bool = False
    """By gzip, level 1, as the cluster takes it."""
    fresh: bool = False
    """A connection of its own for each request."""


def run_bulks(url: str, posts: Posts, way: Way) -> float:
    """Documents a second of bulks that were serialised before, by as many threads as the worker has
    processes."""
    lines = [b'{"index":{"_id":"%b"}}\n%b\n' % (p["id"].encode(), orjson.dumps(p)) for p in posts]
    bulks = [
        b"".join(lines[start : start + way.documents])
        for start in range(0, len(lines), way.documents)
    ]
    headers = {"content-type": "application/x-ndjson"}
    if way.compressed:
        headers["content-encoding"] = "gzip"
    with urllib3.PoolManager(maxsize=PROCESSES) as kept:

        def post(bulk: bytes) -> None:
            with urllib3.PoolManager(maxsize=1) if way.fresh else nullcontext(kept) as connections:
                answer = connections.request(
                    "POST",
                    f"{url}{path(RAW, '_bulk')}?filter_path=errors",
                    headers=headers,
                    body=gzip.compress(bulk, 1) if way.compressed else bulk,
                    retries=False,
                    timeout=60,
                )
            if answer.status != 200 or orjson.loads(answer.data).get("errors"):
                raise RuntimeError(f"the bulk is refused: {answer.data[:300]!r}")

        began = time.perf_counter()
        with ThreadPoolExecutor(PROCESSES) as threads:
            list(threads.map(post, bulks))
        return len(posts) / (time.perf_counter() - began)


def make_chosen(stage: Stage, *, stored: bool = False) -> None:
    """An empty index that chunks may be carried into, as the worker makes its own.

    stored: with positions as stored fields, too, so that either can be read of it.
    """
    body: dict[str, Any] = json.loads(json.dumps(index_body(declared)))
    meta = body["mappings"]["properties"][META]["properties"]
    for name in POSITIONS if stored else ():
        meta[name]["store"] = True
    stage.remove_index(CHOSEN)
    whole = {**body, "aliases": {f"{CHOSEN}-write": {}}}
    answer = stage.cluster.request("PUT", path(CHOSEN), body=whole)
    if answer.status != 200:
        raise RuntimeError(f"cannot make {CHOSEN}: {answer.reason}")


def run_reads(url: str, ids: Sequence[str], *, stored: bool) -> float:
    """Positions a second that are read of documents, by stored fields or by a source filter."""
    names = ",".join(f"{META}.{name}" for name in POSITIONS)
    params = {"stored_fields": names} if stored else {"_source_includes": names}
    cluster = connect(url)

    def read(start: int) -> None:
        some = ids[start : start + EVENT]
        answer = cluster.request(
            "POST", path(CHOSEN, "_mget"), params=params, body={"ids": list(some)}
        )
        if not all(doc.get("found") for doc in answer.body["docs"]):
            raise RuntimeError("a document is not there")

    began = time.perf_counter()
    with ThreadPoolExecutor(PROCESSES) as threads:
        list(threads.map(read, range(0, len(ids), EVENT)))
    cluster.close()
    return len(ids) / (time.perf_counter() - began)


def run_threads(url: str, payloads: Iterable[str], *, create_first: bool = True) -> float:
    """Documents a second of the worker's code in threads of one process."""
    ready = (url, threading.Barrier(PROCESSES))
    pool = ThreadPoolExecutor(PROCESSES, initializer=_get_ready, initargs=ready)
    return _run(pool, url, payloads, create_first=create_first)


def run_processes(url: str, payloads: Iterable[str], *, create_first: bool = True) -> float:
    """The same in processes."""
    spawn = multiprocessing.get_context("spawn")
    ready = (url, spawn.Barrier(PROCESSES))
    pool = ProcessPoolExecutor(PROCESSES, spawn, initializer=_get_ready, initargs=ready)
    return _run(pool, url, payloads, create_first=create_first)


def _run(pool: Executor, url: str, payloads: Iterable[str], *, create_first: bool) -> float:
    with pool:
        list(pool.map(abs, range(PROCESSES)))  # answered once all have begun
        work: Callable[[str], int] = partial(_carry, url, create_first=create_first)
        began = time.perf_counter()
        done = sum(pool.map(work, payloads))
        return done / (time.perf_counter() - began)


def _get_ready(url: str, all_ready: threading.Barrier) -> None:
    """Import and connect, and wait for the others: no start is counted."""
    _documents(url)
    all_ready.wait()


@cache
def _documents(url: str) -> Index:
    cluster = connect(url)
    cluster.request("GET", "/")
    return Index(cluster)


def _carry(url: str, payload: str, *, create_first: bool) -> int:
    destination = Destination(1, CHOSEN, f"{CHOSEN}-write")
    documents = _documents(url)
    return carry_payload(payload, declared, destination, documents, create_first=create_first)
