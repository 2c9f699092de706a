"""What one invocation does, in order: read the event, send the messages, say what failed."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from producer import metrics
from producer.batch import Batch, lowest_failed, read_batch
from producer.logs import fields, measured
from producer.message import Message
from producer.sender import Sender, Sending
from producer.settings import Settings
from producer.stream import sequence_of, stream_of

TOLD: Final = 100
"""Messages that the line of one invocation names."""


class Context(Protocol):
    """What is used of Lambda's context object."""

    @property
    def aws_request_id(self) -> str: ...

    def get_remaining_time_in_millis(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Producer:
    """The function, wired. One for the life of the process."""

    settings: Settings
    sender: Sender
    logger: logging.Logger
    now: Callable[[], datetime]

    def forward(self, event: object, context: Context) -> dict[str, list[dict[str, str]]]:
        """Forward an event; answer, as Lambda's partial batch response, what to deliver again.

        Raises what must fail the whole invocation: ConfigurationError, MalformedEventError,
        UndeliverableError, and botocore's errors of a client that cannot work at all.
        """
        batch = read_batch(event, self.settings, self.now())
        sending = self.sender.send(batch.messages, context.get_remaining_time_in_millis)
        if sending.refusals:
            codes = Counter(refusal.code for refusal in sending.refusals)
            self.logger.error("not sent", extra=fields(request=context.aws_request_id, codes=codes))
        failed = lowest_failed(batch.records, sending.failed)
        line = self._measure(batch, sending, failed)
        if self.logger.isEnabledFor(logging.INFO):
            line = {**_summary(batch, sending), **line}
        # What carries metrics is no matter of taste: an alarm rings when it stays away.
        measured(self.logger).info(
            "forwarded", extra=fields(request=context.aws_request_id, failed=failed, **line)
        )
        return {"batchItemFailures": [{"itemIdentifier": failed}] if failed is not None else []}

    def _measure(self, batch: Batch, sending: Sending, failed: str | None) -> dict[str, Any]:
        letters = sum(message.url == self.settings.dead_letter_url for _, message in sending.sent)
        values = {
            metrics.RECORDS: len(batch.records),
            metrics.CHUNKS: len(sending.sent) - letters,
            metrics.BYTES: sending.bytes,
            metrics.OBJECTS: sending.objects,
            metrics.LETTERS: letters,
            metrics.RETRIES: sending.retries,
            metrics.FAILURES: int(failed is not None),
        }
        at_ms = int(self.now().timestamp() * 1000)
        return metrics.embed(self.settings.queue, at_ms, values)


def _summary(batch: Batch, sending: Sending) -> dict[str, Any]:
    streams = {stream_of(record) for record in batch.records}
    return {
        "streams": sorted(stream.arn for stream in streams if stream is not None),
        "records": len(batch.records),
        "unreadable": batch.unreadable,
        "messages": sending.messages,
        "objects": sending.objects,
        "bytes": sending.bytes,
        "sent": [_trace(name, message, batch) for name, message in sending.sent[:TOLD]],
    }


def _trace(id: str, message: Message, batch: Batch) -> dict[str, Any]:
    """What leads from records of the stream to the message that carries them."""
    first, last = (sequence_of(batch.records[place]) for place in _ends(message))
    return {"message_id": id, "task_id": message.task, "first": first, "last": last}


def _ends(message: Message) -> tuple[int, int]:
    return message.places[0], message.places[-1]
