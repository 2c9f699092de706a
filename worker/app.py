"""The Celery app and the worker that runs it. Everything Celery is told stands here."""

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from celery import Celery, signals
from kombu.entity import Queue

from producer.contract import FIRST_ATTRIBUTE, queue_name
from worker.drain import DrainStep
from worker.exposition import ExpositionStep
from worker.gate import GateStep
from worker.heartbeat import HeartbeatStep
from worker.inquiry import Probe
from worker.ledger import Ledger
from worker.notice import Noticeboard, NoticeStep
from worker.tasks import Handlers, HandlersOfProcess, register_tasks
from worker.timers import PruneStep
from worker.unbegun import UnbegunStep
from worker.valve import Limits
from worker.watchdog import STALL_MARGIN_S, WatchdogStep

log = logging.getLogger(__name__)

PREFETCH: Final = 2
"""Messages received for each child process: one in work, one at hand. Without the second a process
idles, after each chunk, for a delete, a look for free slots and a receive, which together take as
long as a chunk does. The heartbeat keeps it hidden; the cluster sees no more than one bulk for
each process all the same."""

GARBAGE: Final = 50_000
"""Allocations between two searches of a child process for reference cycles. A chunk makes many
objects and no cycles; Python's 700 would search several times in each."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to take messages. Times in seconds."""

    queue_url: str
    region: str
    concurrency: int = 4
    """Child processes, and so messages in work at once; PREFETCH times as many are received."""
    wait_time_seconds: int = 5
    """Length of a long poll, at most 20 (SQS)."""
    visibility_timeout: int | None = None
    """How long a received message stays hidden; None is the queue's own."""
    soft_time_limit: float = 240.0
    """A task is told to end after this (`worker.overtime.OvertimeError` in it) ..."""
    hard_time_limit: float = 300.0
    """... and its process killed after this. Visibility is extended as long as it runs."""
    drain_seconds: float = 25.0
    """After SIGTERM, tasks in work have this long to end; the rest is given back to SQS."""
    polling_interval: float = 0.02
    """Pause between a look for free slots and the next."""
    redelivery_base_s: float = 2.0
    redelivery_cap_s: float = 300.0
    """Wait before a failed message comes again: base, doubled at each receipt up to the cap."""
    receive_cap_s: float = 20.0
    """Longest wait between polls while SQS does not answer."""
    stall_margin_s: float = STALL_MARGIN_S
    """Without a poll for this long beyond a long poll, the worker exits with code 70."""
    health_file: str | None = None
    """Written every second while the worker polls, is paused, or drains: the gate's state, JSON."""
    valve: Limits = field(default_factory=Limits)
    """When refusals stop the line."""
    dead_letter_url: str = ""
    attempts: int = 0
    """Receipts of a message from which on it goes to that queue when its process is lost or out of
    time or memory; 0: never."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    """Where metrics are served as Prometheus text; port 0: nowhere."""


def build_celery(
    settings: BrokerSettings,
    factory: Callable[[], Handlers],
    register: Callable[[Celery], None] | None = None,
    *,
    probe: Probe | None = None,
    board: Noticeboard | None = None,
) -> Celery:
    """The app: our transport on one queue, our three tasks. Connects to nothing.

    factory: makes the handlers, called in each child process as it starts.
    register: adds more to the app, such as bootsteps or tasks of its own.
    probe: see `worker.gate`; called in the main process, in a thread of its own.
    board: where the main process writes the worker's state; see `worker.notice`.
    """
    app = Celery("sluice", set_as_current=False, fixups=[])
    app.config_from_object(celery_configuration(settings))
    handlers = HandlersOfProcess(factory)
    register_tasks(app, handlers)
    app.steps["consumer"] |= consumer_steps(settings, probe, board)
    if register is not None:
        register(app)
    app.finalize()

    def make_handlers(**_: object) -> None:
        handlers.get()
        # What is there by now stays: a search for garbage need not look at it again.
        gc.freeze()
        gc.set_threshold(GARBAGE)

    signals.worker_process_init.connect(make_handlers, weak=False)
    return app


def run_worker(app: Celery, concurrency: int) -> int:
    """Run a worker in this process until a signal ends it; its exit code.

    SIGTERM and the first SIGINT drain: no more polls, tasks in work end, and after the time in
    the settings the rest is killed and made visible again in the queue. Logging is the caller's.
    """
    signals.setup_logging.connect(_leave_logging_alone, weak=False)
    worker = app.Worker(
        concurrency=concurrency,
        pool_cls="prefork",
        optimization="fair",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def consumer_steps(
    settings: BrokerSettings, probe: Probe | None, board: Noticeboard | None
) -> set[type]:
    """What we add to Celery's consumer."""
    ledger, queue = Ledger(), queue_name(settings.queue_url)
    return {
        DrainStep.within(settings.drain_seconds),
        ExpositionStep.serving(settings.metrics_host, settings.metrics_port, queue, ledger),
        GateStep.asking(probe, settings.valve, ledger),
        HeartbeatStep,
        NoticeStep.writing(board, ledger),
        PruneStep,
        UnbegunStep.within(settings.hard_time_limit),
        WatchdogStep.watching(
            settings.wait_time_seconds + settings.stall_margin_s,
            settings.health_file,
            queue,
            ledger,
        ),
    }


def celery_configuration(settings: BrokerSettings) -> dict[str, Any]:
    """Celery's settings: late acknowledgement, PREFETCH, no results, no remote control."""
    queue = queue_name(settings.queue_url)
    return {
        "broker_url": "sqs://",
        "broker_transport": "worker.transport:Transport",
        "broker_transport_options": _transport_options(settings, queue),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_heartbeat": 0,
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_default_queue": queue,
        "task_queues": [Queue(queue, routing_key=queue)],  # type: ignore[no-untyped-call]
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_acks_on_failure": False,
        "task_acks_on_timeout": False,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": settings.soft_time_limit,
        "task_time_limit": settings.hard_time_limit,
        "worker_prefetch_multiplier": PREFETCH,
        "worker_concurrency": settings.concurrency,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_disable_rate_limits": True,
        "worker_enable_prefetch_count_reduction": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_proc_alive_timeout": 30.0,  # its 4 s are short for imports on a busy machine
    }


def _transport_options(settings: BrokerSettings, queue: str) -> dict[str, Any]:
    return {
        "region": settings.region,
        "wait_time_seconds": settings.wait_time_seconds,
        "polling_interval": settings.polling_interval,
        "predefined_queues": {queue: {"url": settings.queue_url}},
        "fetch_message_attributes": {
            "MessageSystemAttributeNames": ["SentTimestamp"],
            "MessageAttributeNames": [FIRST_ATTRIBUTE],
        },
        "receive_visibility_timeout": settings.visibility_timeout,
        "receive_cap_s": settings.receive_cap_s,
        "redelivery_base_s": settings.redelivery_base_s,
        "redelivery_cap_s": settings.redelivery_cap_s,
        "dead_letter_url": settings.dead_letter_url,
        "attempts": settings.attempts,
        # Deletes run in the worker's event loop: botocore's 60 s would hold everything up. One that
        # fails costs a receipt of a message that is obsolete by then.
        "client-config": {
            "connect_timeout": 2,
            "read_timeout": 3,
            "retries": {"mode": "standard", "total_max_attempts": 2},
        },
    }


def _leave_logging_alone(**_: object) -> None:
    """Celery sets up logging unless somebody listens to its signal."""
