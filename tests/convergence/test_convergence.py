"""Random histories, delivered badly, to real workers that are killed: the index equals the table.

Beside them `sluice repair` runs, again and again, on items that change all the time; its reads are
delayed and repeated as the changes are. What was lost on the way it mends at the end.

Replay a failing run with the seed it prints: `SLUICE_SEED=<seed> pytest tests/convergence`.
"""

import importlib
import json
import os
import random
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import boto3
import pytest

from console import cli
from console.verify.compare import place_of
from console.verify.model import Finding, write_finding
from producer.contract import Chunk, encode_chunk, queue_name, write_envelope
from tests.comparison import differences
from tests.convergence import tables as declared
from tests.convergence.history import (
    HORIZON_DAYS,
    History,
    deliver,
    deliver_by_key,
    haunt,
    live_history,
    lose,
    repair,
)
from tests.convergence.traffic import KEYS, Traffic
from tests.polling import wait_for
from tests.services.engines import Engine
from tests.workers import (
    CREDENTIALS,
    REGION,
    Queues,
    Workers,
    connect_sqs,
    running_workers,
    wait_until_drained,
)
from worker.cluster import Cluster, connect, path
from worker.mappings import META
from worker.schema import find_index
from worker.tables import Table
from worker.wire import from_wire

pytestmark = pytest.mark.services

SEEDS = [int(os.environ["SLUICE_SEED"])] if os.environ.get("SLUICE_SEED") else [1, 2]

Sluice = Callable[..., dict[str, Any]]
"""Runs the command in this process; the object it prints, and its exit code as `exit`."""


@pytest.fixture
def sluice(capsys: pytest.CaptureFixture[str]) -> Sluice:
    def run(*arguments: str) -> dict[str, Any]:
        printed = capsys.readouterr().out
        code = cli.main([*arguments, "--json"])
        shown = capsys.readouterr()
        print(printed, end="")  # a failing run tells its seed
        assert code in (0, 1), shown.err
        answer: dict[str, Any] = json.loads(shown.out) if shown.out.strip() else {}
        return {**answer, "exit": code, "said": shown.err}

    return run


def create(client: Any, table: str, history: History | None = None) -> None:
    """A real table, for the worker and the commands to read, with what is left of a history."""
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in history.items.values() if history else ():
        client.put_item(TableName=table, Item=from_wire(item))


def send(queues: Queues, chunks: list[Chunk]) -> None:
    name = queue_name(queues.url)
    queues.send([write_envelope(encode_chunk(chunk), name) for chunk in chunks])


def find_tombstones(cluster: Cluster, table: Table[Any]) -> set[str]:
    cluster.request("POST", path(table.write_alias, "_refresh"))
    body = {"size": 10_000, "query": {"term": {f"{META}.state": "deleted"}}, "_source": False}
    answer = cluster.request("POST", path(table.write_alias, "_search"), body=body)
    assert answer.status == 200, answer
    return {hit["_id"] for hit in answer.body["hits"]["hits"]}


def repair_with_kills(
    sluice: Sluice, traffic: Traffic, rng: random.Random, workers: Workers, place: Path
) -> None:
    """Repair every item that changes, again and again, while workers are killed and replaced."""
    table = declared.stirred
    findings = [Finding("stale", place_of(table, key), None, None) for key in traffic.list_keys()]
    place.write_text("".join(write_finding(table.name, one) + "\n" for one in findings))
    wait_for("live changes", lambda: traffic.changes > KEYS)
    for _ in range(2):
        sluice("repair", table.name, "--keys", str(place), "--patience", "5")
        workers.kill(rng.choice(workers.running))
        workers.start()
    wait_for("the reads of a repair", lambda: traffic.detoured > 0)
    print(f"{traffic.changes} live changes, {traffic.detoured} messages of reads among them")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_index_equals_the_table(
    seed: int,
    search_engine: Engine,
    dynamodb: Engine,
    elasticmq: Engine,
    s3: Engine,
    sluice: Sluice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(seed)
    run = f"c{os.urandom(4).hex()}"
    sqs = connect_sqs(elasticmq.url)
    queues = Queues.create(sqs, run, visibility_s=8, receives=50)
    detour = Queues.create(sqs, f"{run}-detour")
    environment = {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_SQS": elasticmq.url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        "AWS_ENDPOINT_URL_S3": s3.url,
        "SLUICE_QUEUE_URL": queues.url,
        "SLUICE_DEAD_LETTER_URL": queues.dead_url,
        "SLUICE_OVERFLOW_BUCKET": run,
        "SLUICE_ELASTICSEARCH_URL": search_engine.url,
        "SLUICE_TABLES": "tests.convergence.tables",
        "SLUICE_CONCURRENCY": "2",
        "SLUICE_HORIZON_DAYS": "3650",
        "CONVERGENCE_RUN": run,
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    # boto3 keeps the credentials of whoever asked first; DynamoDB Local has tables for each.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    importlib.reload(declared)
    client = boto3.client("dynamodb", region_name=REGION)

    now = time.time_ns() // 1_000_000
    tables = [declared.live, declared.late, declared.hot]
    histories = [
        live_history(rng, tables[0].name, keys=30, changes=900, now_ms=now, days=0.05),
        live_history(rng, tables[1].name, keys=150, changes=500, now_ms=now, days=90),
        live_history(rng, tables[2].name, keys=60, changes=400, now_ms=now, days=0.01),
    ]
    for history in histories:
        create(client, history.table, history)
    create(client, declared.stirred.name)
    lost = lose(rng, histories[1], now)
    repair(histories[1], lost[::2], now)
    lost = lost[1::2]
    chunks = [chunk for history in histories[:2] for chunk in deliver(rng, history)]
    rng.shuffle(chunks)
    hot = deliver_by_key(histories[2])
    total = sum(len(chunk.changes) for chunk in chunks + hot)
    print(f"seed {seed}: {len(chunks + hot)} messages, {total} changes, {len(lost)} lost")
    cluster = connect(search_engine.url)
    traffic = Traffic(random.Random(seed), declared.stirred.name, client, queues, detour.url)

    def compare(when: str, lost: Collection[str] = ()) -> set[str]:
        """Nothing differs, but what was lost of the one table; answers what of that does."""
        missed: set[str] = set()
        for table, history in zip(tables, histories, strict=True):
            found = differences(cluster, table, history.items)
            wrong = {name for names in found.values() for name in names}
            assert wrong <= set(lost if table is declared.late else ()), f"seed {seed}, {when}"
            missed |= wrong
        assert differences(cluster, declared.stirred, traffic.items) == {}, f"seed {seed}, {when}"
        assert [attributes for _, attributes in queues.drain_dead()] == []
        return missed

    with running_workers(environment, tmp_path) as workers:
        for _ in range(3):
            workers.start()
        wait_for("a worker to make the index", lambda: find_index(cluster, declared.stirred))
        send(queues, hot + chunks)
        with traffic, monkeypatch.context() as elsewhere:
            # Its reads go astray with the changes; and it does not wait until they are ripe, so
            # that what keeps them from undoing a change is the workers' rule alone.
            elsewhere.setenv("SLUICE_QUEUE_URL", detour.url)
            elsewhere.setenv("SLUICE_DEAD_LETTER_URL", detour.dead_url)
            elsewhere.setenv("SLUICE_CLOCK_MARGIN_S", "1")
            repair_with_kills(sluice, traffic, rng, workers, tmp_path / "keys")
        wait_until_drained(queues, workers)
        wrong = compare("but for what was lost", lost)
        mended = sluice("repair", declared.late.name, "--settle", "0")
        assert (mended["mended"], mended["left"], mended["exit"]) == (len(wrong), 0, 0)
        assert wrong
        compare("after a repair")

        tombstones = find_tombstones(cluster, tables[1])
        monkeypatch.setenv("SLUICE_HORIZON_DAYS", str(HORIZON_DAYS))
        sluice("tombstones", "purge", tables[1].name)
        purged = tombstones - find_tombstones(cluster, tables[1])
        assert purged
        writes, silencers = haunt(rng, histories[1], chunks, purged)
        late = [
            chunk
            for chunk in rng.sample(chunks, 2 * len(chunks) // 3)
            if not any(chunk is one for one in silencers)
        ]
        print(f"{len(purged)} tombstones purged, {len(late + writes)} messages come weeks late")
        # The short horizon makes the old changes what time would have made them: too old to trust.
        workers.stop()
        for _ in range(2):
            workers.start(SLUICE_HORIZON_DAYS=str(HORIZON_DAYS))
        send(queues, late + writes)
        wait_until_drained(queues, workers)
        compare("after the late redrive")
    cluster.close()
