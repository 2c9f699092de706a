"""The edge to the dead-letter queue: ordinary messages, with the reason as attributes."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from producer import contract
from producer.contract import Change, Chunk
from worker.errors import UnavailableError, UnsendableError
from worker.overtime import awaited

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """Why something could not be applied, and where it would have gone."""

    error: str
    reason: str
    table: str = ""
    index: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """What has been done for a message so far."""

    receives: int = 0
    """How often SQS has handed it out; 0 if nobody knows."""
    first_ms: int | None = None
    """When it was first sent, before any redrive, milliseconds since the epoch."""


class DeadLetters(Protocol):
    """Where refused changes wait for a person."""

    def begin(self, tried: Tried) -> None:
        """Say this of each letter from now on: a message is in work. For one process or thread."""

    def send_change(self, chunk: Chunk, change: Change, letter: Letter) -> None:
        """Put one change of a chunk there, as a message of its own, for the chunk's handler if any.

        Raises UnavailableError, UnsendableError.
        """

    def send_body(self, body: str, letter: Letter) -> None:
        """Put a whole message there as it is. Raises UnavailableError, UnsendableError."""


class DeadLetterQueue:
    """`DeadLetters` in SQS."""

    def __init__(self, client: "SQSClient", url: str, queue: str) -> None:
        self._client = client
        self._url = url
        self._queue = queue
        self._tried = Tried()

    def begin(self, tried: Tried) -> None:
        self._tried = tried

    def send_change(self, chunk: Chunk, change: Change, letter: Letter) -> None:
        alone = Chunk(chunk.table, chunk.stream, (change,), chunk.handler)
        payload = contract.encode_chunk(alone)
        self.send_body(contract.write_envelope(payload, self._queue), letter)

    def send_body(self, body: str, letter: Letter) -> None:
        attributes = contract.write_attributes(
            error=letter.error,
            reason=letter.reason,
            table=letter.table,
            index=letter.index,
            id=letter.id,
            origin="worker",
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            receives=str(self._tried.receives or ""),
            first="" if self._tried.first_ms is None else write_time(self._tried.first_ms),
        )
        try:
            self._send(body, attributes)
        except UnsendableError:
            # A foreign message may fill its limit: the producer's leave room for the reason.
            log.warning("too large for its reason", extra={"why": letter.error, "bytes": len(body)})
            self._send(body, contract.write_attributes(error=letter.error))

    def _send(self, body: str, attributes: Any) -> None:
        try:
            with awaited("the dead-letter queue"):
                self._client.send_message(
                    QueueUrl=self._url, MessageBody=body, MessageAttributes=attributes
                )
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and _blames_message(error):
                raise UnsendableError(
                    f"the dead-letter queue refuses it: {error}",
                    hint="SQS moves it there itself after the queue's maxReceiveCount",
                ) from error
            raise UnavailableError(f"cannot send to the dead-letter queue: {error}") from error


def write_time(ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")[:-6] + "Z"


def read_time(text: str) -> int | None:
    """ISO 8601 as milliseconds since the epoch, from then to the year 5138; None for anything else.
    UTC where it is silent."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    ms = round(aware.timestamp() * 1000)
    return ms if 0 < ms < 10**14 else None


def _blames_message(error: ClientError) -> bool:
    """Whether SQS will never take this message: too long, or characters it does not allow."""
    code = str(error.response["Error"]["Code"]).rpartition(".")[2]
    return code in ("InvalidParameterValue", "InvalidMessageContents", "InvalidAttributeValue")
