"""Rows of the producer: processor time, chunking, bytes on the wire, cold import."""

import gc
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.corpus import (
    LARGE,
    SMALL,
    STREAM,
    TABLE,
    average_bytes,
    make_changes,
    make_posts,
    make_records,
)
from bench.figures import Aim, Row, compare
from bench.size import Size
from producer.batch import read_batch
from producer.chunks import fit_limits, pack
from producer.contract import Change
from producer.forward import Producer
from producer.logs import log_to
from producer.message import count_bytes
from producer.sender import Sender
from producer.settings import Settings

SETTINGS: Final = Settings(
    queue_url="http://127.0.0.1/000000000000/bench",
    dead_letter_url="http://127.0.0.1/000000000000/bench-dead",
    overflow_bucket="bench",
)
ROOT: Final = Path(__file__).parents[1]
NOW_S: Final = 1_767_225_600


class _Network:
    """SQS and S3 that take everything at once: what is left is the handler's own time."""

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> Any:  # noqa: N803
        return {}


class _Context:
    aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def measure_producer(size: Size) -> Iterator[Row]:
    """All rows that need no service."""
    for label, bytes_each in (("1.1 KB", SMALL), ("10 KB", LARGE)):
        count = size.records if bytes_each == SMALL else size.records // 5
        posts = make_posts(count, prefix="p", size=bytes_each)
        event = json.loads(json.dumps({"Records": list(make_records(posts, at_s=NOW_S))}))
        exact = f"{average_bytes(posts):,.0f} bytes each"
        yield _compare_handler(event, label, exact, size)
        yield _compare_wire(event, label)
    yield _compare_chunking(size)
    yield _compare_import(size)


def clock(work: Callable[[], object]) -> float:
    """Processor seconds of this process, without the collector's pauses of what came before."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def interleave(
    rounds: int, ours: Callable[[], object], theirs: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Times of both in turns, after one unmeasured turn of each."""
    ours(), theirs()
    pairs = [(clock(ours), clock(theirs)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def quiet_producer() -> Callable[[Any], object]:
    """The whole handler on a network that takes everything at once; its log line is made, too."""
    producer = Producer(
        SETTINGS,
        Sender(_Network(), _Network(), "bench", SETTINGS.batch_bytes),
        log_to(SETTINGS.log_level, io.StringIO()),
        lambda: datetime.now(UTC),
    )
    return lambda event: producer.forward(event, _Context())


def _compare_handler(event: Any, label: str, exact: str, size: Size) -> Row:
    records = event["Records"]
    forward = quiet_producer()
    ours, theirs = interleave(size.rounds, lambda: forward(event), lambda: json.dumps(records))
    scale = 1e6 / len(records)
    return compare(
        f"producer {label}",
        f"producer: processor time a record of {label}, whole handler without the network,"
        " its log line written",
        [one * scale for one in ours],
        [one * scale for one in theirs],
        unit="µs",
        against="one json.dumps of the records",
        aim=Aim("at most", 3),
        note=f"{len(records)} records, posts of {exact}",
    )


def _compare_wire(event: Any, label: str) -> Row:
    batch = read_batch(event, SETTINGS, datetime.now(UTC))
    sent = sum(map(count_bytes, batch.messages))
    typed = len(json.dumps(event["Records"], separators=(",", ":"), ensure_ascii=False).encode())
    count = len(event["Records"])
    return compare(
        f"wire {label}",
        f"bytes on the wire a record of {label}, envelope included",
        [sent / count],
        [typed / count],
        unit="bytes",
        against="typed JSON of the records",
        aim=Aim("at most", 0.55),
        note=f"{len(batch.messages)} messages",
    )


def _compare_chunking(size: Size) -> Row:
    changes = make_changes(make_posts(size.records, prefix="p"), at_ms=NOW_S * 1000)
    limits = fit_limits(SETTINGS.queue, SETTINGS.message_bytes, SETTINGS.chunk_bytes)

    def ours() -> None:
        list(pack(TABLE, STREAM, changes, limits))

    mine, theirs = interleave(
        size.rounds, ours, lambda: _pack_quadratically(changes, SETTINGS.chunk_bytes)
    )
    return compare(
        "chunking",
        "chunking alone, changes of 1.1 KB a second of processor time, compression included",
        [len(changes) / one for one in mine],
        [len(changes) / one for one in theirs],
        unit="changes/s",
        against="the buffer serialised anew for each change, not compressed",
        aim=Aim("at least", 20),
    )


def _pack_quadratically(changes: list[Change], limit: int) -> list[str]:
    """The obvious way: put the change in, serialise all, look whether it still fits."""
    chunks: list[str] = []
    buffer: list[Any] = []
    text = ""
    for change in changes:
        plain = {"kind": change.kind, "key": change.key, "at": change.at, "new": change.new}
        longer = json.dumps([*buffer, plain])
        if len(longer.encode()) > limit:
            chunks.append(text)
            buffer, longer = [], json.dumps([plain])
        buffer.append(plain)
        text = longer
    return [*chunks, text]


def _compare_import(size: Size) -> Row:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [sys.executable, "infra/package.py", "--output", str(folder / "producer.zip")],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with zipfile.ZipFile(folder / "producer.zip") as archive:
            archive.extractall(folder / "zip")
        (folder / "empty").mkdir()
        (folder / "empty" / "empty.py").write_text(
            "import boto3\n\ndef handler(e, c):\n    return {}\n"
        )

        def ours() -> float:
            return _import(folder / "zip", "producer.handler")

        def theirs() -> float:
            return _import(folder / "empty", "empty")

        ours(), theirs()
        pairs = [(ours(), theirs()) for _ in range(size.rounds * 2)]
    return compare(
        "cold import",
        "cold import of the zip, in a new process without bytecode of its own",
        [1000 * pair[0] for pair in pairs],
        [1000 * pair[1] for pair in pairs],
        unit="ms",
        against="an empty handler that imports boto3",
        aim=Aim("at most", 1.15),
    )


def _import(folder: Path, module: str) -> float:
    """Seconds that a new process takes to import a module, Python's own start not counted."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); began = time.perf_counter();"
        f"import {module}; print(time.perf_counter() - began)"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)
