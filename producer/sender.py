"""Messages go to SQS, the objects they name to S3 before them. The producer's only edge.

Two kinds of refusal: one that may pass (the service's fault, throttling, the network) is tried
again, with exponential backoff and jitter, while the invocation has time left; any other is final.
What is not sent is told, never raised: Lambda then delivers those records again.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError

from producer.message import Message, count_bytes, group_messages

CONNECT_TIMEOUT_S: Final = 2
READ_TIMEOUT_S: Final = 5
MARGIN_MS: Final = 1_000 * (CONNECT_TIMEOUT_S + READ_TIMEOUT_S) + 1_000
"""A call is begun only with this much time left: one that hangs must not outlive the invocation.
What the first batch needs is done in any case, so that a short timeout still makes progress: one
message's objects stored, if it has any, and the messages sent."""

BACKOFF_S: Final = 0.1
BACKOFF_MOST_S: Final = 5.0

_THROTTLING: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "KmsThrottled",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

_FAULTS: Final = (
    ClientError,
    botocore_errors.ConnectionError,
    botocore_errors.HTTPClientError,
    botocore_errors.IncompleteReadError,
)


class Queues(Protocol):
    """What is used of boto3's SQS client."""

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any: ...  # noqa: N803


class Bucket(Protocol):
    """What is used of boto3's S3 client."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> Any: ...  # noqa: N803


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message was not sent."""

    message: Message
    code: str
    """The service's error code, the network error's class, OutOfTime, or BehindFailure: all its
    records come after one that failed, so Lambda delivers them again anyway."""
    passing: bool = False
    """May pass, so it is worth trying again."""


@dataclass(slots=True)
class Sending:
    """How sending went."""

    messages: int = 0
    bytes: int = 0
    objects: int = 0
    calls: int = 0
    retries: int = 0
    """Messages that were tried again, each time counted."""
    refusals: list[Refusal] = field(default_factory=list)
    sent: list[tuple[str, Message]] = field(default_factory=list)
    """Each message with the id that SQS gave it."""

    @property
    def failed(self) -> frozenset[int]:
        """Places of the records that were not sent."""
        return frozenset(place for refusal in self.refusals for place in refusal.message.places)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends messages. One for the life of the process."""

    queues: Queues
    bucket: Bucket
    bucket_name: str
    batch_bytes: int
    sleep: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random
    """A number from 0 to 1, for the jitter."""

    def send(self, messages: Iterable[Message], remaining: Callable[[], int]) -> Sending:
        """Send all messages, in order, or as many as the time allows.

        remaining: milliseconds left. Raises what botocore raises for a client that cannot work at
        all (no credentials, no region).
        """
        sending = Sending()
        for batch in group_messages(messages, self.batch_bytes):
            first = not sending.calls
            wanted = self._not_behind(batch, sending)
            stored = [m for m in wanted if not m.objects or self._keep(m, sending, remaining)]
            post = partial(self._post, sending)
            sent = self._persist(post, stored, sending, remaining, anyway=first)
            sending.messages += len(sent)
            sending.bytes += sum(map(count_bytes, sent))
            sending.objects += sum(len(message.objects) for message in sent)
        return sending

    def _not_behind(self, batch: list[Message], sending: Sending) -> list[Message]:
        first = min(sending.failed, default=None)
        if first is None:
            return batch
        ahead = [message for message in batch if message.places[0] < first]
        sending.refusals += [Refusal(m, "BehindFailure") for m in batch if m.places[0] >= first]
        return ahead

    def _keep(self, message: Message, sending: Sending, remaining: Callable[[], int]) -> bool:
        """Store the message's objects; whether they are stored."""
        first = not sending.calls
        return bool(self._persist(self._store, [message], sending, remaining, anyway=first))

    def _persist(
        self,
        attempt: Callable[[Sequence[Message]], list[Refusal]],
        messages: list[Message],
        sending: Sending,
        remaining: Callable[[], int],
        *,
        anyway: bool,
    ) -> list[Message]:
        """Attempt, and again for what may pass; answer the messages that succeeded.

        anyway: attempt once, however little time is left.
        """
        if not anyway and remaining() < MARGIN_MS:
            sending.refusals += [Refusal(message, "OutOfTime") for message in messages]
            return []
        failed: list[Refusal] = []
        waiting, tries = messages, 0
        while waiting:
            refusals = attempt(waiting)
            sending.calls += 1
            failed += [refusal for refusal in refusals if not refusal.passing]
            again = [refusal for refusal in refusals if refusal.passing]
            pause = self._pause(tries)
            if again and remaining() < MARGIN_MS + 1_000 * pause:
                failed += again
                break
            if again:
                sending.retries += len(again)
                self.sleep(pause)
            waiting, tries = [refusal.message for refusal in again], tries + 1
        sending.refusals += failed
        lost = {id(refusal.message) for refusal in failed}
        return [message for message in messages if id(message) not in lost]

    def _pause(self, tries: int) -> float:
        most: float = min(BACKOFF_MOST_S, BACKOFF_S * 2 ** min(tries, 16))
        return most * (0.5 + self.chance() / 2)

    def _store(self, messages: Sequence[Message]) -> list[Refusal]:
        return [refusal for message in messages for refusal in self._store_objects(message)]

    def _store_objects(self, message: Message) -> list[Refusal]:
        try:
            for stored in message.objects:
                self.bucket.put_object(Bucket=self.bucket_name, Key=stored.key, Body=stored.content)
        except _FAULTS as error:
            return [_refuse(message, error)]
        return []

    def _post(self, sending: Sending, messages: Sequence[Message]) -> list[Refusal]:
        try:
            answer = self.queues.send_message_batch(
                QueueUrl=messages[0].url,
                Entries=[_entry(place, message) for place, message in enumerate(messages)],
            )
        except _FAULTS as error:
            return [_refuse(message, error) for message in messages]
        sending.sent += _read_ids(answer, messages)
        return _read_answer(answer, messages)


def _read_ids(answer: dict[str, Any], messages: Sequence[Message]) -> Iterator[tuple[str, Message]]:
    ids = {entry["Id"]: str(entry.get("MessageId", "")) for entry in answer.get("Successful", ())}
    for place, message in enumerate(messages):
        if str(place) in ids:
            yield ids[str(place)], message


def _read_answer(answer: dict[str, Any], messages: Sequence[Message]) -> list[Refusal]:
    """Refusals of a batch; an entry that the answer forgets may have been lost: send it again."""
    done = {entry["Id"] for entry in answer.get("Successful", ())}
    failed = {entry["Id"]: entry for entry in answer.get("Failed", ())}
    refusals = []
    for place, message in enumerate(messages):
        entry = failed.get(str(place))
        if entry is not None:
            code = str(entry.get("Code"))
            passing = not entry.get("SenderFault") or _throttled(code)
            refusals.append(Refusal(message, code, passing))
        elif str(place) not in done:
            refusals.append(Refusal(message, "NotInAnswer", passing=True))
    return refusals


def _refuse(message: Message, error: Exception) -> Refusal:
    if not isinstance(error, ClientError):
        return Refusal(message, type(error).__name__, passing=True)
    code = error.response.get("Error", {}).get("Code", "Unknown")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Refusal(message, code, passing=status >= 500 or status == 429 or _throttled(code))


def _throttled(code: str) -> bool:
    return code.rpartition(".")[2] in _THROTTLING


def _entry(place: int, message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": str(place), "MessageBody": message.body}
    if message.attributes:
        entry["MessageAttributes"] = message.attributes
    return entry
