"""What Lambda itself gave up on: invocation records in the S3 on-failure destination.

Source: AWS Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in
Lambda": a JSON object for each discarded batch, `payload` the event as JSON text,
`DDBStreamBatchInfo` where it came from. (Records sent to SQS or SNS have no payload: nothing is
left to forward.)
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from console.deadletters.redrive import Send
from producer.batch import read_batch
from producer.contract import ContractError, parse_stream_arn
from producer.errors import ConfigurationError, MalformedEventError
from producer.settings import Settings
from worker.errors import UnavailableError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

FORWARDED: Final = "forwarded/"
"""Where `--keep` puts what was forwarded."""

OBJECT_BYTES: Final = 32 * 1024 * 1024
"""Far more than an event of 6 MB (Lambda quotas), escaped as JSON text."""

_FAULTS: Final = (BotoCoreError, ClientError)


class UnusableError(ValueError):
    """Nothing can be forwarded from this object, and why. It stays where it is."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One batch that Lambda gave up on."""

    key: str
    condition: str
    """Why Lambda gave up, in its word: RetryAttemptsExhausted, MaximumRecordAgeExceeded …"""
    at: str
    """When, ISO 8601."""
    table: str
    shard: str
    first: str
    last: str
    """Sequence numbers of the batch's ends."""
    event: dict[str, Any]
    """As Lambda would have delivered it."""

    @property
    def records(self) -> int:
        """How many records it holds."""
        return len(self.event["Records"])


def read_failure(key: str, content: bytes) -> Failure:
    """An invocation record. Raises UnusableError."""
    fields = _object(_parse(content, "the object"), "the object")
    info = _object(fields.get("DDBStreamBatchInfo"), "'DDBStreamBatchInfo'")
    context = _object(fields.get("requestContext"), "'requestContext'")
    payload = fields.get("payload")
    if payload is None:
        raise UnusableError("it has no payload: only an S3 destination gets the records")
    event = _parse(payload.encode(), "its payload") if isinstance(payload, str) else payload
    event = _object(event, "its payload")
    if not isinstance(event.get("Records"), list) or not event["Records"]:
        raise UnusableError("its payload has no records")
    return Failure(
        key=key,
        condition=str(context.get("condition", "")),
        at=str(fields.get("timestamp", "")),
        table=_table(info.get("streamArn")),
        shard=str(info.get("shardId", "")),
        first=str(info.get("startSequenceNumber", "")),
        last=str(info.get("endSequenceNumber", "")),
        event=event,
    )


def forward(failure: Failure, settings: Settings, send: Send, at: datetime) -> None:
    """Send the records again, by the producer's code. Raises UnusableError if not all were sent.

    What the producer cannot read goes to the dead-letter queue, as it does in Lambda.
    """
    try:
        batch = read_batch(failure.event, settings, at)
    except (ConfigurationError, MalformedEventError) as error:
        raise UnusableError(str(error)) from error
    why = send(batch.messages)
    if why:
        raise UnusableError(f"not sent: {why}; what was sent does no harm when it comes again")


@dataclass(frozen=True, slots=True)
class Failures:
    """The on-failure destination in S3."""

    client: "S3Client"
    bucket: str
    prefix: str

    def keys(self) -> Iterator[str]:
        """Names of the objects, in S3's order. Raises UnavailableError."""
        try:
            for page in self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            ):
                for found in page.get("Contents", ()):
                    if not found["Key"].startswith(FORWARDED) and not found["Key"].endswith("/"):
                        yield found["Key"]
        except _FAULTS as error:
            raise UnavailableError(f"cannot list the bucket {self.bucket}: {error}") from error

    def read(self, key: str) -> Failure | None:
        """One of them; None if it is gone meanwhile. Raises UnusableError, UnavailableError."""
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            content = answer["Body"].read(OBJECT_BYTES)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise UnavailableError(f"cannot read {key} of {self.bucket}: {error}") from error
        except BotoCoreError as error:
            raise UnavailableError(f"cannot read {key} of {self.bucket}: {error}") from error
        return read_failure(key, content)

    def finish(self, key: str, *, keep: bool) -> None:
        """Take it out of the list, once its records are sent. Raises UnavailableError."""
        try:
            if keep:
                self.client.copy_object(
                    Bucket=self.bucket,
                    Key=FORWARDED + key,
                    CopySource={"Bucket": self.bucket, "Key": key},
                )
            self.client.delete_object(Bucket=self.bucket, Key=key)
        except _FAULTS as error:
            raise UnavailableError(
                f"{key} was forwarded but is still in {self.bucket}: {error}"
            ) from error


def _parse(content: bytes, name: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"{name} is not JSON: {error!s:.120}") from error


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnusableError(f"{name} is no object: not an invocation record of a stream")
    return value


def _table(arn: object) -> str:
    try:
        return parse_stream_arn(arn if isinstance(arn, str) else "").table
    except ContractError:
        return ""
