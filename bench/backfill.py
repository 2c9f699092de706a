"""How fast backfill, workers and verify are, and in how much memory: `python bench/backfill.py`.

Real services on this machine: DynamoDB Local, ElasticMQ, Elasticsearch 8. Run from the repository's
root. Prints one JSON object; docs/capacity.md is written from it.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import boto3

from console.local.services import start_moto
from tests.services.servers import start_dynamodb_local, start_elasticmq, start_elasticsearch
from tests.workers import CREDENTIALS, REGION, Queues, connect_sqs, running_workers
from worker.cluster import connect
from worker.schema import ensure_index
from worker.tables import Table

TABLE = "run.items"
ROOT = Path(__file__).parents[1]


def run_sluice(*arguments: str) -> dict[str, Any]:
    """One command: its answer, its seconds, and the most memory it held, in MB."""
    began = time.monotonic()
    print(" ".join(arguments), file=sys.stderr)
    process = subprocess.Popen(
        [sys.executable, "-m", "console", *arguments, "--json"], stdout=subprocess.PIPE, cwd=ROOT
    )
    out = process.stdout.read() if process.stdout else b""
    _, _, usage = os.wait4(process.pid, 0)
    return {
        "wall_s": round(time.monotonic() - began, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "memory_mb": usage.ru_maxrss // 1024,
        "answer": json.loads(out),
    }


def fill(items: int) -> None:
    """Write items of about 1 KB."""
    rng = random.Random(1)
    words = ["river", "stone", "lamp", "orchard", "signal", "quiet", "copper", "harbour"]
    client = boto3.client("dynamodb")
    lock = threading.Lock()

    def write(start: int) -> None:
        with lock:
            text = [" ".join(rng.choices(words, k=140)) for _ in range(25)]
        entries: list[Any] = [
            {
                "PutRequest": {
                    "Item": {"id": {"S": f"{start + n:09}"}, "n": {"N": str(n)}, "text": {"S": one}}
                }
            }
            for n, one in enumerate(text)
        ]
        client.batch_write_item(RequestItems={TABLE: entries})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(0, items, 25)))


def measure(items: int, segments: list[int], workers: int, directory: Path) -> dict[str, Any]:
    """Every figure."""
    figures: dict[str, Any] = {"items": items}
    client = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    fill(items)
    queues = Queues.create(connect_sqs(os.environ["AWS_ENDPOINT_URL_SQS"]), "bench")
    os.environ |= {"SLUICE_QUEUE_URL": queues.url, "SLUICE_DEAD_LETTER_URL": queues.dead_url}
    cluster = connect(os.environ["SLUICE_ELASTICSEARCH_URL"])
    ensure_index(cluster, Table(TABLE, alias="run-items"))
    for count in segments:
        figures[f"backfill, {count} segments, no workers"] = run_sluice(
            "backfill", TABLE, "--segments", str(count), "--max-queue", "1000000"
        )
        if count != segments[-1]:
            queues.client.purge_queue(QueueUrl=queues.url)
    with running_workers(dict(os.environ), directory) as running:
        for _ in range(workers):
            running.start()
        began = time.monotonic()
        while queues.depth():
            time.sleep(0.1)
        figures["workers drain, s, their start included"] = round(time.monotonic() - began, 1)
        figures["backfill into workers"] = run_sluice("backfill", TABLE, "--wait")
    figures["verify"] = run_sluice("verify", TABLE, "--settle", "0")
    figures["verify --sample 3000"] = run_sluice(
        "verify", TABLE, "--settle", "0", "--sample", "3000"
    )
    cluster.close()
    return figures


def main() -> None:
    """Start the services, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--segments", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--workers", type=int, default=1)
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
            figures = measure(asked.items, asked.segments, asked.workers, parts["w"])
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
