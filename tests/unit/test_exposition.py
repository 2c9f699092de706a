"""What a scraper reads: every metric, in Prometheus's own way of counting."""

import logging
import socket
import urllib.request
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from worker.exposition import ExpositionStep, WorkerCollector
from worker.fate import Fate, count_lags
from worker.ledger import Ledger
from worker.metrics import LAG, METRICS
from worker.telemetry import Reading
from worker.transport import OpenGate

CONSUMER = SimpleNamespace(
    task_consumer=SimpleNamespace(
        channel=SimpleNamespace(
            gate=OpenGate(), polled_at=0.0, qos=SimpleNamespace(held=lambda: {"tag": 1})
        )
    )
)


def read(ledger: Ledger, reading: Reading) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels, the queue's left out."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector("changes", ledger, lambda: reading))
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("queue") == "changes"
            found[sample.name, *labels.values()] = sample.value
    return found


def test_every_metric_is_there_from_the_start_but_no_class_of_refusals() -> None:
    samples = read(Ledger(), Reading())
    names = {name[0].removesuffix("_bucket") for name in samples}
    assert {m.prometheus for m in METRICS} - names == {"sluice_changes_refused_total"}


def test_sums_grow_buckets_are_cumulative_and_classes_are_labels() -> None:
    ledger = Ledger()
    for _ in range(2):
        fate = Fate(
            2,
            1,
            took_ms=30,
            lag_sum_ms=4_000,
            lag_max_ms=3_000,
            lags=count_lags([1, 3]),
            classes={"ValueError": 1},
        )
        ledger.ended(fate)
        ledger.take()
    samples = read(ledger, Reading(valve="trial", breaker="shut", in_work=3, held=2))
    assert samples["sluice_changes_received_total",] == 6
    assert samples["sluice_changes_refused_total", "ValueError"] == 2
    assert samples["sluice_lag_seconds_bucket", "0.5"] == 0
    assert samples["sluice_lag_seconds_bucket", "1.0"] == 2
    assert samples["sluice_lag_seconds_bucket", "3.0"] == 4
    assert samples["sluice_lag_seconds_bucket", "+Inf"] == 4
    assert samples["sluice_lag_seconds_count",] == 4
    assert samples["sluice_lag_seconds_sum",] == 8
    assert samples["sluice_chunk_seconds_count",] == 2
    gauges = {name: samples[f"sluice_{name}",] for name in ("valve_shut", "paused", "in_work")}
    assert gauges == {"valve_shut": 1, "paused": 1, "in_work": 3}


def test_each_name_of_prometheus_is_of_one_metric_and_says_its_unit() -> None:
    names = [metric.prometheus for metric in METRICS]
    assert len(names) == len(set(names))
    assert LAG.prometheus == "sluice_lag_seconds"
    assert all(
        name.endswith("_total") == (m.kind == "sum") for name, m in zip(names, METRICS, strict=True)
    )


def test_without_a_port_nothing_is_served() -> None:
    step = ExpositionStep.serving("127.0.0.1", 0, "changes", Ledger())(CONSUMER)
    step.start(CONSUMER)
    assert step._server is None


def test_it_is_served_on_the_address_of_the_settings_until_the_end() -> None:
    port = free_port()
    step = ExpositionStep.serving("127.0.0.1", port, "changes", Ledger())(CONSUMER)
    step.start(CONSUMER)
    step.start(CONSUMER)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert 'sluice_in_work{queue="changes"} 1.0' in answer.read().decode()
    assert step._server.server_address[0] == "127.0.0.1"
    step.shutdown(CONSUMER)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def test_a_port_that_is_taken_is_told_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        step = ExpositionStep.serving("127.0.0.1", port, "changes", Ledger())(CONSUMER)
        with caplog.at_level(logging.WARNING):
            step.start(CONSUMER)
        step.shutdown(CONSUMER)
    assert "metrics are not served" in caplog.text


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
