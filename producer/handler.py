"""The Lambda function: entry and wiring."""

import os
from datetime import UTC, datetime
from functools import cache

import boto3
from botocore.config import Config

from producer.forward import Context, Producer
from producer.logs import log_to
from producer.sender import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Sender
from producer.settings import Settings


def handler(event: object, context: Context) -> dict[str, list[dict[str, str]]]:
    """Forward a batch of stream records into the queue; answer what Lambda shall deliver again."""
    return _producer().forward(event, context)


def build(settings: Settings) -> Producer:
    """The function, wired from its settings: the producer's one composition root."""
    # One attempt a call: the sender tries again itself, and only while the invocation lasts.
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    sender = Sender(
        queues=boto3.client("sqs", config=config),
        bucket=boto3.client("s3", config=config),
        bucket_name=settings.overflow_bucket,
        batch_bytes=settings.batch_bytes,
    )
    return Producer(settings, sender, log_to(settings.log_level), lambda: datetime.now(UTC))


@cache  # made by the first event, not by the import, and kept for as long as Lambda stays warm
def _producer() -> Producer:
    return build(Settings.read(os.environ))
