"""A worker to start in a process of its own: `python -m tests.transport_worker`, set by TEST_*.

Its handlers write what they are called with, a JSON line each, to the file TEST_CALLS, and do
what the payload says. TEST_TRANSPORT=stock runs Celery as its own documentation of SQS has it.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
from celery import Celery

from worker.app import BrokerSettings, build_celery, run_worker
from worker.errors import ContentionError, UnavailableError
from worker.fate import Fate
from worker.overtime import OvertimeError
from worker.tasks import MessageInfo
from worker.transport import Channel


class Recorder:
    """Handlers that obey their payload: `fail`, `sleep 3`, `kill`, ..."""

    def changes(self, payload: str, message: MessageInfo) -> Fate:
        self._note("changes", payload, message)
        verb, _, argument = payload.partition(" ")
        if verb == "once":
            verb, _, argument = (
                ("", "", "") if message.receive_count > 1 else argument.partition(" ")
            )
        match verb:
            case "fail":
                raise ValueError("as told")
            case "broken" if not os.path.exists(argument):
                raise ValueError("as told")
            case "contention" if not os.path.exists(argument):
                raise ContentionError("as told")
            case "unavailable":
                raise UnavailableError("as told")
            case "away" if not os.path.exists(argument):
                raise UnavailableError("as told")
            case "exit":
                sys.exit(3)
            case "memory":
                raise MemoryError
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":  # deaf to the soft limit, as code of C may be
                hang(float(argument))
            case "until":
                wait_for_file(argument)
            case "sleep":
                time.sleep(float(argument))
        self._note("done", payload, message)
        return Fate(1)

    def record(self, payload: str, message: MessageInfo) -> Fate:
        self._note("record", payload, message)
        return Fate(1)

    def undecodable(self, body: str, reason: str, message: MessageInfo) -> Fate:
        boto3.client("sqs", region_name="us-east-1").send_message(
            QueueUrl=os.environ["TEST_DEAD_URL"], MessageBody=body or "(empty)"
        )
        self._note("undecodable", body, message, reason=reason)
        return Fate(1)

    def _note(self, what: str, text: str, message: MessageInfo, **more: str) -> None:
        line: dict[str, Any] = {"what": what, "text": text, "at": time.monotonic()}
        line |= {"message": message.message_id, "count": message.receive_count}
        line |= {"sent": message.sent_at_ms} | more
        with open(os.environ["TEST_CALLS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def hang(seconds: float) -> None:
    """Sleep through the soft time limit."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            time.sleep(left)
        except OvertimeError:
            continue


def wait_for_file(name: str) -> None:
    """Wait until somebody makes it, for at most half a minute."""
    deadline = time.monotonic() + 30
    while not os.path.exists(name) and time.monotonic() < deadline:
        time.sleep(0.01)


def use_stock(app: Celery) -> None:
    """Put back what our transport, requests and steps replace."""
    app.conf.broker_transport = None
    app.steps["consumer"].clear()
    app.finalize()
    for task in app.tasks.values():
        task.Request = "celery.worker.request:Request"


def stall(app: Celery) -> None:
    """Let the poll loop end for a reason nobody thought of."""

    def poll_no_more(*_: object) -> None:
        """In place of a poll."""

    setattr(Channel, "_schedule_queue", poll_no_more)  # noqa: B010  # mypy forbids the other way


VARIANTS: dict[str, Callable[[Celery], None] | None] = {
    "ours": None,
    "stock": use_stock,
    "stalling": stall,
}


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    settings: dict[str, Any] = json.loads(os.environ.get("TEST_SETTINGS", "{}"))
    concurrency = settings.setdefault("concurrency", 2)
    app = build_celery(
        BrokerSettings(
            queue_url=os.environ["TEST_QUEUE_URL"],
            region="us-east-1",
            dead_letter_url=os.environ["TEST_DEAD_URL"],
            **{"wait_time_seconds": 1, "redelivery_base_s": 1, "receive_cap_s": 1} | settings,
        ),
        Recorder,
        VARIANTS[os.environ["TEST_TRANSPORT"]],
    )
    return run_worker(app, concurrency)


if __name__ == "__main__":
    sys.exit(main())
