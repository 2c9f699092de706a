"""Wiring of one call of the command: settings, clients, the checked pair of queues."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from console.deadletters.queue import Pair, open_pair
from console.deadletters.reading import Reader, StillUnreadableError
from console.deadletters.redrive import Send, send_with
from console.deadletters.settings import Settings, read_settings
from console.errors import MisuseError
from producer.contract import INFLATED_BYTES
from producer.sender import Sender
from worker.overflow import Bucket

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

_AWS = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})


@dataclass(frozen=True)
class Session:
    """What a subcommand may use; made when it is first asked for."""

    settings: Settings

    @cached_property
    def pair(self) -> Pair:
        """The queues. Raises MisuseError if they are not a pair, UnavailableError."""
        s = self.settings
        return open_pair(self.sqs, s.queue_url, s.dead_letter_url, s.batch_bytes)

    @cached_property
    def sqs(self) -> "SQSClient":
        """SQS, by the standard settings of AWS."""
        client: SQSClient = _connect("sqs")
        return client

    @cached_property
    def s3(self) -> "S3Client":
        """S3, by the standard settings of AWS."""
        client: S3Client = _connect("s3")
        return client

    @cached_property
    def overflow(self) -> Bucket:
        """Images that lie in the overflow bucket, as the worker reads them."""
        return Bucket(self.s3, self.settings.overflow_bucket)

    @cached_property
    def reader(self) -> Reader:
        """Reads stream records again."""
        s = self.settings
        return Reader(s.producer, s.producer_problem, self._fetch, now)

    @property
    def send(self) -> Send:
        """Sends what the producer's code made, as the producer does."""

        def send(messages: Any) -> str:
            return send_with(
                Sender(
                    queues=self.sqs,
                    bucket=self.s3,
                    bucket_name=self.settings.overflow_bucket,
                    batch_bytes=self.settings.batch_bytes,
                )
            )(messages)

        return send

    def _fetch(self, key: str) -> bytes:
        try:
            answer = self.s3.get_object(Bucket=self.settings.overflow_bucket, Key=key)
            return answer["Body"].read(INFLATED_BYTES * 1001 // 1000)
        except (BotoCoreError, ClientError) as error:
            raise StillUnreadableError(f"the overflow object {key!r}: {error}") from error


def open_session() -> Session:
    """The session that the environment asks for. Raises ConfigurationError."""
    return Session(read_settings(os.environ))


def now() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)


def _connect(service: str) -> Any:
    make: Callable[..., Any] = boto3.client
    # boto3 itself reads AWS_DEFAULT_REGION and not AWS_REGION; without either, its files.
    region = os.environ.get("AWS_REGION") or None
    try:
        return make(service, config=_AWS, region_name=region)
    except BotoCoreError as error:
        raise MisuseError(f"cannot use AWS: {error}", hint="set AWS_REGION") from error
