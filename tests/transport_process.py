"""Starts `tests.transport_worker` and watches it, for the tests of the transport."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> bool:
    """Whether the condition became true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.03)
    return bool(condition())


@dataclass
class Worker:
    """A running worker process."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def calls(self, what: str, text: str | None = None) -> list[dict[str, Any]]:
        """What its handlers were called with."""
        lines = (self.folder / "calls").read_text("utf-8").splitlines(keepends=True)
        calls = [json.loads(line) for line in lines if line.endswith("\n")]
        return [c for c in calls if c["what"] == what and text in (None, c["text"])]

    def did(self, text: str, seconds: float = 30.0) -> bool:
        """Whether a task with this payload ended well in time."""
        return wait_for(lambda: self.calls("done", text), seconds)

    def end(self, seconds: float = 40.0, sig: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(seconds)


@contextmanager
def worker_on(
    endpoint: str,
    queue_url: str,
    dead_url: str,
    folder: Path,
    transport: str = "ours",
    **settings: Any,
) -> Iterator[Worker]:
    """A worker on this queue. settings: fields of BrokerSettings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calls").touch()
    scrubbed = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CELERY_"))}
    environment = scrubbed | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_SQS": endpoint,
        "TEST_QUEUE_URL": queue_url,
        "TEST_DEAD_URL": dead_url,
        "TEST_CALLS": str(folder / "calls"),
        "TEST_TRANSPORT": transport,
        "TEST_SETTINGS": json.dumps(settings),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.transport_worker"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    worker = Worker(process, folder)
    try:
        yield worker
    finally:
        if worker.alive:
            process.kill()
            process.wait()
