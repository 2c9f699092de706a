"""Real worker processes under test, and the queues they drain."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil
from botocore.config import Config

from console.local.process import TETHER
from tests.polling import wait_for

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

ROOT = Path(__file__).parents[1]
REGION = "us-east-1"
_TETHERED = (sys.executable, "-I", "-S", str(TETHER))
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def connect_sqs(url: str) -> "SQSClient":
    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 5}),
    )


@dataclass(frozen=True)
class Queues:
    """A queue with its dead-letter queue."""

    client: "SQSClient"
    url: str
    dead_url: str

    @classmethod
    def create(
        cls, client: "SQSClient", name: str, *, visibility_s: int = 30, receives: int = 5
    ) -> "Queues":
        dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        redrive = {
            "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
            "maxReceiveCount": receives,
        }
        url = client.create_queue(
            QueueName=name,
            Attributes={
                "VisibilityTimeout": str(visibility_s),
                "RedrivePolicy": json.dumps(redrive),
            },
        )["QueueUrl"]
        return cls(client, url, dead)

    def send(self, bodies: list[str]) -> None:
        for start in range(0, len(bodies), 5):
            entries = bodies[start : start + 5]
            self.client.send_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(entries)],
            )

    def depth(self, url: str = "") -> int:
        """Messages waiting or in flight."""
        counts = self.client.get_queue_attributes(
            QueueUrl=url or self.url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )["Attributes"]
        return sum(int(count) for count in counts.values())

    def drain_dead(self) -> list[tuple[str, dict[str, str]]]:
        """Every dead letter's body and attributes; they are removed."""
        letters: list[tuple[str, dict[str, str]]] = []
        while True:
            answer = self.client.receive_message(
                QueueUrl=self.dead_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            if not answer.get("Messages"):
                return letters
            for message in answer["Messages"]:
                attributes = message.get("MessageAttributes", {})
                letters.append(
                    (message["Body"], {k: v["StringValue"] for k, v in attributes.items()})
                )
                self.client.delete_message(
                    QueueUrl=self.dead_url, ReceiptHandle=message["ReceiptHandle"]
                )


@dataclass
class Workers:
    """Worker processes of one environment, each with its log."""

    environment: Mapping[str, str]
    directory: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ending: list[subprocess.Popen[bytes]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    """Exit codes of those that were told to end, and did."""
    started: int = 0
    log_of: dict[int, Path] = field(default_factory=dict)
    """By process id."""

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start one more `python -m worker`; it ends with this process whatever happens."""
        self.started += 1
        log = self.directory / f"worker-{self.started}.log"
        environment = {**os.environ, **CREDENTIALS, **self.environment, **settings}
        environment["PYTHONPATH"] = str(ROOT)
        # A container has AWS_REGION alone, so that must be enough.
        environment.pop("AWS_DEFAULT_REGION", None)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_TETHERED, str(os.getpid()), sys.executable, "-m", "worker"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        self.log_of[process.pid] = log
        return process

    def are_ready(self) -> bool:
        """Whether all that run have begun to take messages."""
        return all("ready." in self.log_of[process.pid].read_text() for process in self.running)

    def drop(self, process: subprocess.Popen[bytes]) -> None:
        """Let a worker that was told to end do so; it is waited for at the end."""
        self.running.remove(process)
        self.ending.append(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL a worker and all its children, at whatever instruction they are."""
        (self.running if process in self.running else self.ending).remove(process)
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            children = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.wait(10)
        _close(process)

    def logs(self) -> str:
        parts = sorted(self.directory.glob("worker-*.log"))
        return "\n".join(f"== {p.name}\n{p.read_text()[-4000:]}" for p in parts)

    def stop(self) -> None:
        for process in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        self.ending += self.running
        self.running.clear()
        for process in list(self.ending):
            try:
                self.codes.append(process.wait(40))
                self.ending.remove(process)
                _close(process)
            except subprocess.TimeoutExpired:
                self.kill(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


@contextlib.contextmanager
def running_workers(environment: Mapping[str, str], directory: Path) -> Iterator[Workers]:
    """Workers that are all gone when the context ends."""
    workers = Workers(environment, directory)
    try:
        yield workers
    finally:
        workers.stop()


def wait_until_drained(
    queues: Queues, workers: Workers, seconds: float = 120, *, every: float = 0.2
) -> None:
    """Until no message waits or is in flight. Fails with the workers' logs."""

    def is_drained() -> bool:
        assert all(process.poll() is None for process in workers.running), (
            "a worker ended by itself"
        )
        return queues.depth() == 0

    try:
        wait_for("the queue to drain", is_drained, seconds=seconds, every=every)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{workers.logs()}") from error
