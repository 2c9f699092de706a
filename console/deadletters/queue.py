"""The edge to the pair of queues: receive, give back, send, delete."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from console.deadletters.model import Attribute, Received
from console.errors import MisuseError
from worker.errors import UnavailableError

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

POLL_S: Final = 1
"""Length of a poll. A long poll asks every server of SQS; a short one may miss messages."""

BATCH: Final = 10
"""Most entries of one batch call (Amazon SQS API reference)."""

_FAULTS: Final = (BotoCoreError, ClientError)
_MISSING: Final = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message to be sent: the body as it stands, and what attributes it keeps."""

    body: str
    attributes: Mapping[str, Attribute]

    def count_bytes(self) -> int:
        """What SQS counts against its limits: the body, and each attribute's name, type, value."""
        return len(self.body.encode()) + sum(
            len(name.encode())
            + len(attribute["DataType"])
            + len(attribute.get("BinaryValue", b""))
            + len(attribute.get("StringValue", "").encode())
            for name, attribute in self.attributes.items()
        )


class Letters(Protocol):
    """The dead-letter queue, as a scan sees it."""

    def receive(self, most: int, hold_s: int) -> list[Received]:
        """Some messages, hidden for `hold_s` seconds from now on; none after a poll in vain."""

    def release(self, receipts: Collection[str]) -> int:
        """Make messages visible again at once. How many stay hidden till their time is up."""

    def count(self) -> int:
        """How many messages there are, hidden ones included; approximate."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The main queue and its dead-letter queue, found to belong together."""

    client: "SQSClient"
    main_url: str
    dead_url: str
    batch_bytes: int
    max_receives: int
    """Deliveries after which SQS moves a message of the main queue to the dead letters."""
    now_ms: int
    """The time by the queue's clock when the pair was checked, or up to two seconds later."""

    def receive(self, most: int, hold_s: int) -> list[Received]:
        """See `Letters`."""
        with _outages("read the dead-letter queue"):
            answer = self.client.receive_message(
                QueueUrl=self.dead_url,
                MaxNumberOfMessages=most,
                VisibilityTimeout=hold_s,
                WaitTimeSeconds=POLL_S,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
        return [_read_message(message) for message in answer.get("Messages", ())]

    def release(self, receipts: Collection[str]) -> int:
        """See `Letters`. Never raises: a message that is not given back comes back by itself."""
        lost = 0
        for batch in _batches(list(receipts)):
            entries: Any = [
                {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for place, receipt in enumerate(batch)
            ]
            try:
                answer = self.client.change_message_visibility_batch(
                    QueueUrl=self.dead_url, Entries=entries
                )
            except _FAULTS:
                lost += len(batch)
            else:
                lost += len(answer.get("Failed", ()))
        return lost

    def count(self) -> int:
        """See `Letters`."""
        with _outages("count the dead letters"):
            attributes = self.client.get_queue_attributes(
                QueueUrl=self.dead_url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )["Attributes"]
        return sum(int(value) for value in attributes.values())

    def delete(self, receipts: Sequence[str]) -> set[str]:
        """Delete messages; the receipts of those that are still there. Raises UnavailableError."""
        kept: set[str] = set()
        for batch in _batches(list(receipts)):
            entries: Any = [
                {"Id": str(place), "ReceiptHandle": receipt} for place, receipt in enumerate(batch)
            ]
            with _outages("delete from the dead-letter queue"):
                answer = self.client.delete_message_batch(QueueUrl=self.dead_url, Entries=entries)
            kept |= {batch[int(failed["Id"])] for failed in answer.get("Failed", ())}
        return kept

    def redrive(self, parcels: Sequence[Parcel]) -> dict[int, str]:
        """Send to the main queue. Why each that was not sent was not, by place."""
        return self._send(self.main_url, parcels)

    def put_back(self, parcels: Sequence[Parcel]) -> dict[int, str]:
        """Send to the dead-letter queue. Why each that was not sent was not, by place."""
        return self._send(self.dead_url, parcels)

    def _send(self, url: str, parcels: Sequence[Parcel]) -> dict[int, str]:
        refused: dict[int, str] = {}
        for places in group(parcels, self.batch_bytes):
            entries = [_entry(place, parcels[place]) for place in places]
            try:
                answer = self.client.send_message_batch(QueueUrl=url, Entries=entries)
            except _FAULTS as error:
                refused |= dict.fromkeys(places, str(error))
                continue
            sent = {int(entry["Id"]) for entry in answer.get("Successful", ())}
            whys = {
                int(e["Id"]): f"{e['Code']}: {e.get('Message', '')}"
                for e in answer.get("Failed", ())
            }
            refused |= {p: whys.get(p, "not in the answer") for p in places if p not in sent}
        return refused


def group(parcels: Sequence[Parcel], batch_bytes: int) -> list[list[int]]:
    """Places of parcels in batches that SendMessageBatch takes: ten of them, `batch_bytes`."""
    batches: list[list[int]] = []
    filled = 0
    for place, parcel in enumerate(parcels):
        size = parcel.count_bytes()
        if not batches or len(batches[-1]) == BATCH or filled + size > batch_bytes:
            batches.append([])
            filled = 0
        batches[-1].append(place)
        filled += size
    return batches


def open_pair(client: "SQSClient", main_url: str, dead_url: str, batch_bytes: int) -> Pair:
    """The pair of queues, checked.

    Raises MisuseError if one is missing, or if SQS does not move messages from the first to the
    second: whatever they are, they are not the configured pair. UnavailableError if SQS is away.
    """
    main = _describe(client, main_url, "SLUICE_QUEUE_URL", ["RedrivePolicy"])
    dead = _describe(client, dead_url, "SLUICE_DEAD_LETTER_URL", ["QueueArn"])
    policy = read_policy(main.attributes.get("RedrivePolicy", ""))
    if policy is None:
        raise MisuseError(
            f"{main_url} has no dead-letter queue (no RedrivePolicy), so {dead_url} is not its",
            hint="check SLUICE_QUEUE_URL",
        )
    arn, receives = policy
    if arn != dead.attributes["QueueArn"]:
        raise MisuseError(
            f"the dead-letter queue of {main_url} is {arn}, and not {dead_url}",
            hint="check SLUICE_QUEUE_URL and SLUICE_DEAD_LETTER_URL: nothing was done",
        )
    return Pair(client, main_url, dead_url, batch_bytes, receives, dead.now_ms)


def read_policy(text: str) -> tuple[str, int] | None:
    """The dead-letter queue's ARN and maxReceiveCount of a RedrivePolicy; None if there is none."""
    try:
        policy = json.loads(text)
        return str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])
    except (ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class _Description:
    attributes: Mapping[Any, str]
    now_ms: int


def _describe(client: "SQSClient", url: str, name: str, attributes: Any) -> _Description:
    try:
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=attributes)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _MISSING:
            raise MisuseError(f"there is no queue {url}", hint=f"check {name}") from error
        raise UnavailableError(f"cannot ask for the queue {url}: {error}") from error
    except BotoCoreError as error:
        raise UnavailableError(f"cannot ask for the queue {url}: {error}") from error
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    return _Description(answer.get("Attributes", {}), _read_date(date))


def _read_date(text: str) -> int:
    """The Date of an HTTP answer, in milliseconds; our own clock without it.

    Two seconds are added: it is floored, may be cached, and SQS is more than one server.
    """
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        moment = datetime.now().astimezone()
    return int(moment.timestamp()) * 1000 + 2_000


@contextmanager
def _outages(what: str) -> Iterator[None]:
    """Turns what botocore raises into UnavailableError."""
    try:
        yield
    except _FAULTS as error:
        raise UnavailableError(f"cannot {what}: {error}") from error


def _read_message(message: Any) -> Received:
    system = message.get("Attributes", {})
    return Received(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        attributes={n: _attribute(a) for n, a in message.get("MessageAttributes", {}).items()},
        sent_ms=int(system.get("SentTimestamp", 0)),
        receives=int(system.get("ApproximateReceiveCount", 1)),
        moved="DeadLetterQueueSourceArn" in system,
    )


def _attribute(fields: Mapping[str, Any]) -> Attribute:
    known = ("DataType", "StringValue", "BinaryValue")
    return {name: fields[name] for name in known if name in fields}


def _entry(place: int, parcel: Parcel) -> Any:
    entry: dict[str, Any] = {"Id": str(place), "MessageBody": parcel.body}
    if parcel.attributes:
        entry["MessageAttributes"] = parcel.attributes
    return entry


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]
