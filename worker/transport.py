"""Celery's SQS transport, mended.

Named in the configuration as ``broker_transport="worker.transport:Transport"``; nothing of kombu
is patched. What it does otherwise than kombu 5.7.0:

==========================  =========================================================
stock                       here
==========================  =========================================================
a failed poll is the last   polls for ever, ever more slowly, within timeouts
a bad message crashes the   becomes a call of `UNDECODABLE_TASK`
worker, or is deleted
a rejected message may be   is never deleted, but visible again after a time that
deleted                     grows with its receive count
a failed delete may end     is logged; the message comes again
the worker
start needs an answer to    starts while SQS is away, and without that permission
GetQueueAttributes
shutdown hides what it      makes it visible at once
gives back for a while
==========================  =========================================================
"""

import json
import logging
import random
import time
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from kombu.transport import SQS
from vine import promise

from producer.contract import FIRST_ATTRIBUTE
from worker.backoff import delay_s
from worker.deadletters import DeadLetterQueue
from worker.fate import Fate
from worker.incoming import UNDECODABLE_TASK, Call, Undecodable, read_body
from worker.polling import Failure, Health, PollingConnection, get_client

log = logging.getLogger(__name__)

# kombu calls itself typed, but most of it is not.
_StockQoS: Any = SQS.QoS
_StockChannel: Any = SQS.Channel
_StockTransport: Any = SQS.Transport

AWS_ERRORS: Final = (ClientError, BotoCoreError, OSError)
"""What a call of boto3 raises when SQS is away or refuses."""

_ANSWER_MARGIN_S = 5.0


class Gate(Protocol):
    """Whether to take messages, decided by how tasks end. Called in the main process only."""

    def limit(self) -> int | None:
        """How many messages may be in work at once: 0 is a pause, None no limit of the gate's."""

    def waiting(self) -> int:
        """How many messages it holds on to that are not in work now."""

    def keep(self, request: Any, error: BaseException) -> bool:
        """Whether the gate holds on to a failed request, to run it again. If not, it is rejected.

        error: as it reached the main process.
        """

    def answered(self, request: Any) -> None:
        """A task has ended well."""

    def counted(self, fate: Fate) -> None:
        """What it has made of its changes."""

    def status(self) -> dict[str, object]:
        """For people: why messages are taken, or not."""


class OpenGate:
    """A gate that is never shut."""

    def limit(self) -> int | None:
        """No limit."""
        return None

    def waiting(self) -> int:
        """It holds none."""
        return 0

    def keep(self, request: Any, error: BaseException) -> bool:
        """Never."""
        return False

    def answered(self, request: Any) -> None:
        """Nothing to learn."""

    def counted(self, fate: Fate) -> None:
        """Nothing to learn."""

    def status(self) -> dict[str, object]:
        """Nothing to say."""
        return {}


class QoS(_StockQoS):  # type: ignore[misc]  # see _StockQoS
    """How many messages to ask for: free slots, and what the gate allows."""

    def can_consume(self) -> bool:
        """Whether to poll at all."""
        return bool(super().can_consume()) and self._allowance() != 0

    def can_consume_max_estimate(self) -> int | None:
        """How many to ask for in one poll."""
        free, allowed = super().can_consume_max_estimate(), self._allowance()
        return min((n for n in (free, allowed) if n is not None), default=None)

    def held(self) -> dict[str, Any]:
        """What was received and is not settled, by delivery tag. For any thread."""
        messages, settled = self._delivered.copy(), self._dirty.copy()
        return {tag: message for tag, message in messages.items() if tag not in settled}

    def _allowance(self) -> int | None:
        limit = self.channel.gate.limit()
        if limit is None:
            return None
        in_work: int = len(self._delivered) - len(self._dirty) - self.channel.gate.waiting()
        return max(int(limit) - in_work, 0)


class Channel(_StockChannel):  # type: ignore[misc]  # see _StockChannel
    """One queue's messages. See the module for what is mended."""

    QoS = QoS
    receive_base_s = 0.5
    receive_cap_s = 20.0
    redelivery_base_s = 2.0
    redelivery_cap_s = 300.0
    receive_visibility_timeout: int | None = None
    dead_letter_url = ""
    attempts = 0
    """Receipts of a message from which on the main process dead-letters it (`worker.losses`);
    0: never."""
    from_transport_options = (
        *_StockChannel.from_transport_options,
        "receive_base_s",
        "receive_cap_s",
        "redelivery_base_s",
        "redelivery_cap_s",
        "receive_visibility_timeout",
        "dead_letter_url",
        "attempts",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate: Gate = OpenGate()
        self.receiving = Health()
        self.polled_at = time.monotonic()
        """When the poll loop last came round, on the monotonic clock. Pauses do not stop it, and
        neither does a call of SQS on the event loop that hangs: each that ends counts."""

    # Polling

    def asynsqs(self, queue: str | None = None) -> PollingConnection:
        """The connection that polls `queue`."""
        connections: dict[str | None, PollingConnection] = self._predefined_queue_async_clients
        if queue not in connections:
            names = self.get_message_attributes
            connections[queue] = PollingConnection(
                sqs_connection=self.sqs(queue=queue),
                http_client=get_client(),
                region=self.region,
                message_system_attribute_names=names["MessageSystemAttributeNames"],
                message_attribute_names=names["MessageAttributeNames"],
                answer_timeout_s=self.wait_time_seconds + _ANSWER_MARGIN_S,
            )
        return connections[queue]

    def _get_from_sqs(
        self,
        queue_name: str,
        queue_url: str,
        connection: PollingConnection,
        count: int = 1,
        callback: Any = None,
    ) -> Any:
        return connection.receive_message(
            queue_name,
            queue_url,
            number_messages=count,
            visibility_timeout=self.receive_visibility_timeout,
            wait_time_seconds=self.wait_time_seconds,
            callback=callback,
        )

    def _schedule_queue(self, queue: str) -> None:
        if queue not in self._active_queues:
            return
        self.polled_at = time.monotonic()
        if not self.qos.can_consume():
            self._loop1(queue)
            return
        try:
            self._get_bulk_async(queue, callback=promise(self._loop1, (queue,)))
        except Exception as error:  # noqa: BLE001  # e.g. credentials that cannot be refreshed
            self.receiving.failed(f"{type(error).__name__} before asking")
            self._loop1(queue)

    def _loop1(self, queue: str, messages_fetched: int | None = None) -> None:
        if not self.receiving.failures:
            super()._loop1(queue, messages_fetched)
            return
        wait = delay_s(
            self.receiving.failures,
            base_s=self.receive_base_s,
            cap_s=self.receive_cap_s,
            chance=random.random(),  # noqa: S311  # spreads load, hides nothing
        )
        self.hub.call_later(wait, self._schedule_queue, queue)

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> int:
        if isinstance(messages, Failure):
            self.receiving.failed(messages.reason)
            return 0
        self.receiving.succeeded()
        received = (messages or {}).get("Messages") or []
        deliver = self.connection._callbacks.get(qname)
        if received and deliver is None:
            self._release_messages(queue, qname, received)
            return 0
        for message in received:
            self._deliver(message, qname, queue, deliver)
        return len(received)

    def _deliver(self, message: dict[str, Any], qname: str, url: str, deliver: Any) -> None:
        try:
            deliver(build_payload(message, qname, url))
        except Exception:
            log.exception("message %s could not be started; it comes again", message["MessageId"])
            self.qos.ack(message["ReceiptHandle"])

    # Messages

    def _message_to_python(
        self, message: dict[str, Any], queue_name: str, q_url: str
    ) -> dict[str, Any]:
        return build_payload(message, queue_name, q_url)

    def set_visibility(self, delivery_info: dict[str, Any], seconds: int) -> None:
        """Hide a message in work for so many seconds from now. Raises one of AWS_ERRORS."""
        self.sqs(
            queue=self.canonical_queue_name(delivery_info["routing_key"])
        ).change_message_visibility(
            QueueUrl=delivery_info["sqs_queue"],
            ReceiptHandle=delivery_info["sqs_message"]["ReceiptHandle"],
            VisibilityTimeout=seconds,
        )

    def visibility_timeout_of_queue(self) -> int:
        """The queue's own visibility timeout, in seconds. Raises one of AWS_ERRORS."""
        ((queue, settings),) = self.predefined_queues.items()
        name = "VisibilityTimeout"
        answer = self.sqs(queue=queue).get_queue_attributes(
            QueueUrl=settings["url"], AttributeNames=[name]
        )
        return int(answer["Attributes"][name])

    def dead_letters(self) -> DeadLetterQueue:
        """Where the main process sends what no child process could settle."""
        ((queue, _),) = self.predefined_queues.items()
        return DeadLetterQueue(self.sqs(queue=queue), self.dead_letter_url, queue)

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Delete the message. If that fails it comes again, and is applied again in vain."""
        info = self.qos.get(delivery_tag).delivery_info
        try:
            self.sqs(queue=self.canonical_queue_name(info["routing_key"])).delete_message(
                QueueUrl=info["sqs_queue"], ReceiptHandle=delivery_tag
            )
        except AWS_ERRORS as error:
            log.warning(
                "message %s is done but not deleted, so it comes again: %s",
                info["sqs_message"]["MessageId"],
                describe(error),
            )
        finally:
            self.polled_at = time.monotonic()
            self.qos.ack(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give the message back, for later. Never deletes, whatever the queue's redrive policy."""
        info = self.qos.get(delivery_tag).delivery_info
        wait = delay_s(
            receive_count(info["sqs_message"]),
            base_s=self.redelivery_base_s,
            cap_s=self.redelivery_cap_s,
            chance=random.random(),  # noqa: S311  # spreads load, hides nothing
        )
        try:
            self.set_visibility(info, max(1, round(wait)))
        except AWS_ERRORS as error:
            log.warning(
                "message %s comes again after its visibility timeout: %s",
                info["sqs_message"]["MessageId"],
                describe(error),
            )
        finally:
            self.polled_at = time.monotonic()
            self.qos.ack(delivery_tag)

    def _restore(self, message: Any, unwanted_delivery_info: Any = ()) -> None:
        """At a shutdown: what was not done is at once visible to others."""
        info = message.delivery_info
        try:
            self.set_visibility(info, 0)
        except AWS_ERRORS as error:
            log.warning(
                "message %s comes again after its visibility timeout: %s",
                info["sqs_message"]["MessageId"],
                describe(error),
            )

    def _size(self, queue: str) -> int:
        """Asked for by kombu as it declares the queue, and of no use to us."""
        return 0


class Transport(_StockTransport):  # type: ignore[misc]  # see _StockTransport
    """See the module."""

    Channel = Channel


def build_payload(message: dict[str, Any], queue: str, url: str) -> dict[str, Any]:
    """What kombu makes its message of: ours from end to end, nothing of the sender's passed on.

    message: as ReceiveMessage gave it.
    """
    match read_body(message.get("Body")):
        case Call(task, id_, payload):
            args = [payload]
        case Undecodable(body, reason):
            task, id_, args = UNDECODABLE_TASK, message["MessageId"], [body, reason]
            log.warning(
                "message %s cannot be read", message["MessageId"]
            )  # the reason may quote it
    known = {name: message[name] for name in ("MessageId", "ReceiptHandle")}
    known["Attributes"] = message.get("Attributes") or {}
    first = message.get("MessageAttributes", {}).get(FIRST_ATTRIBUTE, {}).get("StringValue")
    if first:  # the one attribute that a redrive leaves: all else of the sender's stays behind
        known["First"] = first
    return {
        "body": json.dumps([args, {}, {}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": task, "id": id_},
        "properties": {
            "delivery_tag": message["ReceiptHandle"],
            "delivery_info": {
                "exchange": "",
                "routing_key": queue,
                "sqs_message": known,
                "sqs_queue": url,
            },
        },
    }


def receive_count(message: dict[str, Any]) -> int:
    """How often SQS has handed the message out, this time included; 1 if it does not say."""
    return int(message["Attributes"].get("ApproximateReceiveCount", 1))


def describe(error: Exception) -> str:
    """An error of boto3 in few words: its text may quote a request."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown error"))
    return type(error).__name__
