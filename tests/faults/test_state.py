"""A real worker seen from elsewhere: its metrics, its state in the cluster, an operator's word."""

import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from console.local.process import find_free_port
from producer.contract import queue_name
from tests.faults.conftest import Stage
from tests.polling import wait_for
from worker.metrics import METRICS
from worker.state import WorkerState, read_states, request_open

pytestmark = [
    pytest.mark.services,
    pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session"),
]

REFUSALS = 20
CHUNK = 5


def scrape(port: int) -> dict[str, float]:
    """Every sample, by its name; samples of several labels are summed."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0) + sample.value
    return samples


def seen(stage: Stage) -> WorkerState:
    (state,) = read_states(stage.cluster, queue_name(stage.queues.url))
    return state


def test_a_valve_that_shut_is_seen_from_elsewhere_and_opened_by_a_word_in_the_cluster(
    stage: Stage, tmp_path: Path
) -> None:
    flag, port = tmp_path / "mended", find_free_port()
    stage.send(30, changes=CHUNK - 1)
    worker = stage.workers.start(
        FAULTS_BAD_UNTIL=str(flag),
        SLUICE_VALVE_PAUSE_S="600",
        SLUICE_VALVE_REFUSALS=str(REFUSALS),
        SLUICE_METRICS_PORT=str(port),
        SLUICE_STATE_S="1",
        SLUICE_LOG_SAMPLE="0",
        SLUICE_LOG_LEVEL="WARNING",
    )
    stage.wait_for_line("the valve is shut")
    queue = queue_name(stage.queues.url)
    wait_for("the shut valve in its state", lambda: seen(stage).valve.state == "shut")
    wait_for("work to end", lambda: stage.in_flight() == 0)
    wait_for("its last figures", lambda: seen(stage).in_work == 0)
    shut = seen(stage)
    assert shut.worker.endswith(f":{worker.pid}")
    assert shut.polling
    assert shut.breaker == "open"
    assert "changes refused in 60 s: ValueError" in shut.valve.why
    assert shut.valve.trial_at is not None
    assert abs(shut.valve.trial_at - shut.valve.since - 600_000) < 2_000
    assert shut.refused == {"ValueError": shut.totals.refused}
    assert shut.totals.refused >= REFUSALS
    indexed = shut.totals.changes - shut.totals.refused
    assert sum(shut.lag.counts) == indexed
    samples = scrape(port)
    assert samples["sluice_valve_shut"] == 1
    assert samples["sluice_changes_refused_total"] == shut.totals.refused
    assert samples["sluice_lag_seconds_count"] == indexed

    flag.touch()
    request_open(stage.cluster, queue, time.time_ns() // 1_000_000, "a test")
    stage.wait_for_line("opened by an operator: by a test, through the cluster")
    stage.wait_until_drained(20)
    wait_for("the open valve in its state", lambda: seen(stage).valve.state == "open")
    wait_for("its figures", lambda: scrape(port)["sluice_changes_received_total"] == 30 * CHUNK)
    samples = scrape(port)
    names = {metric.prometheus for metric in METRICS}
    assert names <= {name.removesuffix("_bucket") for name in samples}
    assert samples["sluice_chunk_seconds_count"] == 30
    assert samples["sluice_json_bytes_total"] > samples["sluice_wire_bytes_total"] > 0

    worker.terminate()
    worker.wait(30)
    stage.workers.drop(worker)
    assert read_states(stage.cluster, queue) == []
    metered = [line for line in stage.lines("worker state") if "_aws" in line]
    assert sum(line["ChangesReceived"] for line in metered) == 30 * CHUNK
    by_class = [
        line for line in stage.lines("changes refused") if line.get("Error") == "ValueError"
    ]
    refused = sum(line["ChangesRefused"] for line in by_class)
    assert refused == shut.totals.refused
    assert len(stage.lines("chunk applied")) == 0
    assert len(stage.queues.drain_dead()) == refused
