"""What memory backfill, verify and rebuild hold on a large table.

    python bench/million.py --items 1000000
    python bench/million.py --items 1000000 --rebuild --no-verify

Real services on this machine: DynamoDB Local, ElasticMQ, Elasticsearch 8, one worker of two
processes. Items are small, about 300 bytes, so that a million of them fit into a test's services.
Run from the repository's root. Prints a JSON object for each step as it ends, with the resident
memory of the command's process, sampled twice a second; docs/capacity.md is written from them.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

import boto3
import psutil

from console.local.services import start_moto
from console.rebuild.stand import read_progress
from tests.services.servers import start_dynamodb_local, start_elasticmq, start_elasticsearch
from tests.workers import CREDENTIALS, REGION, Queues, connect_sqs, running_workers
from worker.cluster import Cluster, connect
from worker.errors import ConfigurationError, UnavailableError
from worker.schema import ensure_index, read_index
from worker.tables import Table

TABLE: Final = "run.items"
ROOT: Final = Path(__file__).parents[1]
MARKS: Final = (0.1, 0.25, 0.5, 0.75, 0.95)
WORDS: Final = ["river", "stone", "lamp", "orchard", "signal", "quiet", "copper", "harbour"]

# DynamoDB Local reads who asks, and checks no signature; signing would be most of the time.
_SIGNED_BY_NOBODY: Final = (
    f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=0"
)


def fill(items: int) -> None:
    """Write items of about 300 bytes, as fast as DynamoDB Local takes them."""
    client = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    threads = 4
    with ThreadPoolExecutor(threads) as pool:
        parts = [(items * n // threads, items * (n + 1) // threads) for n in range(threads)]
        list(pool.map(_fill_part, parts))


def _fill_part(part: tuple[int, int]) -> None:
    rng = random.Random(part[0])
    place = urlsplit(os.environ["AWS_ENDPOINT_URL_DYNAMODB"])
    connection = http.client.HTTPConnection(str(place.hostname), place.port)
    headers = {
        "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": _SIGNED_BY_NOBODY,
    }
    for start in range(part[0], part[1], 25):
        entries = [
            {"PutRequest": {"Item": make_item(rng, number)}}
            for number in range(start, min(start + 25, part[1]))
        ]
        body = json.dumps({"RequestItems": {TABLE: entries}})
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200 or json.loads(content)["UnprocessedItems"]:
            raise RuntimeError(f"DynamoDB Local refuses items: {content[:300]!r}")


def make_item(rng: random.Random, number: int) -> dict[str, Any]:
    """One generated item."""
    text = " ".join(rng.choices(WORDS, k=40))
    return {"id": {"S": f"{number:09}"}, "n": {"N": str(number)}, "text": {"S": text}}


def watch(total: int, count: Callable[[], int], *arguments: str) -> dict[str, Any]:
    """Run a command; its answer, and the memory it held when it had done each part of `total`.

    count: what is done by now.
    """
    began = time.monotonic()
    command = [sys.executable, "-m", "console", *arguments, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    held: dict[str, int] = {}
    reached: dict[str, float] = {}
    samples = most = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        done = count() / total
        memory = watched.memory_info().rss // 2**20 if watched.is_running() else 0
        samples += 1
        most = max(most, memory)
        for mark in MARKS:
            if done >= mark and memory:
                held.setdefault(f"{mark:.0%}", memory)
                reached.setdefault(f"{mark:.0%}", round(time.monotonic() - began, 1))
        time.sleep(0.5)
    out = process.stdout.read() if process.stdout else b""
    return {
        "wall_s": round(time.monotonic() - began, 1),
        "wall_s_at": reached,
        "memory_mb_at": held,
        "memory_mb_most": most,
        "samples": samples,
        "exit": process.returncode,
        "answer": json.loads(out),
    }


def watch_checkpoint(total: int, checkpoint: Path, *arguments: str) -> dict[str, Any]:
    """The same, of a command that keeps a checkpoint in a file."""

    def count() -> int:
        return count_done(checkpoint.read_bytes()) if checkpoint.exists() else 0

    return watch(total, count, *arguments, "--checkpoint", str(checkpoint))


def count_done(checkpoint: str | bytes) -> int:
    """Items, and documents, that a checkpoint says are done."""
    try:
        units = json.loads(checkpoint)["units"]
    except ValueError:
        return 0
    names = ("read", "items", "documents")
    return sum(unit["counts"].get(name, 0) for unit in units.values() for name in names)


def count_rebuilt(cluster: Cluster, index: str) -> int:
    """Documents copied, then items and documents compared, as the new index says."""
    try:
        progress = read_progress(read_index(cluster, index)["mappings"])
    except (UnavailableError, ConfigurationError):
        return 0  # it is not there yet
    return progress.copied + count_done(progress.check)


def tell(step: str, **figures: Any) -> None:
    """One line for each step, at once: a run that is cut short has told what it knows."""
    print(json.dumps({"step": step, **figures}), flush=True)


def measure(asked: argparse.Namespace, directory: Path) -> None:
    """Every step."""
    items = asked.items
    began = time.monotonic()
    fill(items)
    tell("fill", items=items, wall_s=round(time.monotonic() - began, 1))
    queues = Queues.create(connect_sqs(os.environ["AWS_ENDPOINT_URL_SQS"]), "bench")
    os.environ |= {"SLUICE_QUEUE_URL": queues.url, "SLUICE_DEAD_LETTER_URL": queues.dead_url}
    cluster = connect(os.environ["SLUICE_ELASTICSEARCH_URL"])
    ensure_index(cluster, Table(TABLE, alias="run-items"))
    cut = ("--segments", str(asked.segments))
    with running_workers(dict(os.environ), directory) as running:
        for _ in range(asked.workers):
            running.start()
        began = time.monotonic()
        done = watch_checkpoint(items, directory / "backfill", "backfill", TABLE, *cut)
        tell("backfill, beside workers", **done)
        while queues.depth():
            time.sleep(0.5)
        tell("all indexed", wall_s=round(time.monotonic() - began, 1))
        if asked.verify:
            verify = ("verify", TABLE, *cut, "--settle", "1")
            done = watch_checkpoint(2 * items, directory / "verify", *verify)
            tell("verify, both directions", **done)
        if asked.rebuild:
            os.environ["UPKEEP_DEPLOYED"] = "2"
            for process in list(running.running):
                running.kill(process)
                running.start(UPKEEP_DEPLOYED="2")
            rebuild(cluster, items, *cut, "--concurrency", str(asked.concurrency))
    cluster.close()


def rebuild(cluster: Cluster, items: int, *options: str) -> None:
    """Each step by itself; `run` copies every document, and compares as many twice."""
    for action in ("start", "run", "swap", "finish"):
        arguments = ("rebuild", TABLE, action, *options)
        done = watch(3 * items, lambda: count_rebuilt(cluster, "run-items-v2"), *arguments)
        if action != "run":
            done |= {"memory_mb_at": {}, "wall_s_at": {}}  # these copy and compare nothing
        tell(f"rebuild {action}", **done)


def main() -> None:
    """Start the services, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rebuild", action="store_true", help="rebuild the index, too")
    parser.add_argument("--concurrency", type=int, default=2, help="of the rebuild")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="leave it out")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        parts = {part: Path(name) / part for part in ("d", "q", "e", "m", "w")}
        for path in parts.values():
            path.mkdir()
        with (
            start_dynamodb_local(parts["d"]) as dynamodb,
            start_elasticmq(parts["q"]) as queue,
            start_elasticsearch(8, parts["e"], full_speed=True) as search,
            start_moto(parts["m"]) as s3,
        ):
            os.environ |= {
                **CREDENTIALS,
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": s3.url,
                "AWS_ENDPOINT_URL_SQS": queue.url,
                "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
                "SLUICE_OVERFLOW_BUCKET": "bench",
                "SLUICE_BATCH_BYTES": "262144",
                "SLUICE_ELASTICSEARCH_URL": search.url,
                "SLUICE_TABLES": "tests.upkeep.tables",
                "SLUICE_CONCURRENCY": "2",
                "PYTHONPATH": str(ROOT),
            }
            measure(asked, parts["w"])


if __name__ == "__main__":
    main()
