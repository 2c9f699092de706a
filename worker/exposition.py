"""The metrics as Prometheus text, for whoever scrapes this process. Off unless a port is set."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from celery import bootsteps
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from worker import metrics
from worker.ledger import Histogram, Ledger
from worker.telemetry import Reading, measure, read_channel

log = logging.getLogger(__name__)

LABEL: Final = metrics.DIMENSION.lower()
ERROR_LABEL: Final = metrics.ERROR_DIMENSION.lower()


class WorkerCollector(Collector):
    """Reads a worker's ledger whenever it is asked."""

    def __init__(self, queue: str, ledger: Ledger, read: Callable[[], Reading]) -> None:
        self._queue = queue
        self._ledger = ledger
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Every metric of `metrics.METRICS`, since the worker's start."""
        figures, gauges = self._ledger.since_start(), measure(self._read())
        for metric in metrics.METRICS:
            name, meaning = metric.prometheus, metric.meaning
            if metric is metrics.REFUSED:
                by_class = CounterMetricFamily(name, meaning, labels=[LABEL, ERROR_LABEL])
                for error, count in figures.refused.items():
                    by_class.add_metric([self._queue, error], count)
                yield by_class
            elif metric.kind == "sum":
                counter = CounterMetricFamily(name, meaning, labels=[LABEL])
                counter.add_metric([self._queue], figures.sums[metric])
                yield counter
            elif metric.kind == "gauge":
                gauge = GaugeMetricFamily(name, meaning, labels=[LABEL])
                gauge.add_metric([self._queue], gauges[metric])
                yield gauge
            else:
                histogram = HistogramMetricFamily(name, meaning, labels=[LABEL])
                one = figures.histograms[metric]
                histogram.add_metric([self._queue], cumulate(one), one.sum)
                yield histogram


def cumulate(histogram: Histogram) -> list[tuple[str, float]]:
    """Buckets as Prometheus has them: each counts all values up to its bound."""
    seen = 0
    buckets: list[tuple[str, float]] = []
    bounds = [*(f"{float(bound)}" for bound in histogram.bounds), "+Inf"]
    for bound, count in zip(bounds, histogram.counts, strict=True):
        seen += count
        buckets.append((bound, float(seen)))
    return buckets


class ExpositionStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Serves the metrics from the first connection on, in a thread of its own."""

    name = "worker.exposition.ExpositionStep"
    requires = ("celery.worker.consumer.tasks:Tasks",)
    host = "127.0.0.1"
    port = 0
    queue = ""
    ledger = Ledger()

    @classmethod
    def serving(cls, host: str, port: int, queue: str, ledger: Ledger) -> type["ExpositionStep"]:
        """The step with this address; port 0: it serves nothing."""
        values = {"host": host, "port": port, "queue": queue, "ledger": ledger}
        return type("ExpositionStep", (cls,), values)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._channel: Any = None
        self._server: Any = None

    def start(self, consumer: Any) -> None:
        """Called for each connection."""
        self._channel = consumer.task_consumer.channel
        if self.port and self._server is None:
            self._server = self._serve()

    def stop(self, consumer: Any) -> None:
        """A drain can be watched too."""

    def shutdown(self, consumer: Any) -> None:
        """Nothing is in work any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _serve(self) -> Any:
        registry = CollectorRegistry()
        registry.register(WorkerCollector(self.queue, self.ledger, self._read))
        ProcessCollector(registry=registry)
        try:
            server, _ = start_http_server(self.port, self.host, registry)
        except OSError as error:
            log.warning("metrics are not served at %s:%d: %s", self.host, self.port, error)
            return None
        log.info("metrics are served at http://%s:%d/metrics", self.host, self.port)
        return server

    def _read(self) -> Reading:
        return read_channel(self._channel)
