"""An event of a stream becomes messages; what could not be sent becomes the answer. Pure."""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from producer.chunks import Packed, Packer, fit_limits
from producer.contract import ContractError, write_envelope
from producer.deadletters import write_dead_letter
from producer.errors import MalformedEventError, UndeliverableError, UnreadableRecordError
from producer.message import Message
from producer.settings import Settings
from producer.stream import read_record, sequence_of, stream_of


@dataclass(frozen=True, slots=True)
class Batch:
    """What an event asks for. A record's place is its number in the event."""

    records: list[object]
    messages: list[Message]
    """In the order of their first records."""
    unreadable: int
    """How many of the messages are for the dead-letter queue."""


def read_batch(event: object, settings: Settings, at: datetime) -> Batch:
    """The messages for an event as Lambda delivers it.

    Raises MalformedEventError for what is no such event, and ConfigurationError if the stream
    does not carry new images.
    """
    records = _records(event)
    limits = fit_limits(settings.queue, settings.message_bytes, settings.chunk_bytes)
    packer = Packer(limits)
    chunks: list[Packed] = []
    letters: list[Message] = []
    for place, record in enumerate(records):
        try:
            stream, change = read_record(record, old_images=settings.old_images)
            chunks += packer.add(stream.table, stream.arn, change, place)
        except (UnreadableRecordError, ContractError) as error:
            letters.append(
                write_dead_letter(
                    record,
                    str(error),
                    place,
                    url=settings.dead_letter_url,
                    queue=settings.queue,
                    limits=limits,
                    at=at,
                )
            )
    chunks += packer.close()
    messages = [*letters, *(_message(chunk, settings) for chunk in chunks)]
    messages.sort(key=lambda message: message.places[0])
    return Batch(records, messages, len(letters))


def lowest_failed(records: list[object], failed: Collection[int]) -> str | None:
    """The sequence number that Lambda is told: it and all after it come again.

    Lambda takes the lowest number of the answer as its checkpoint, and a shard's batch is in
    order, so one number says all. Numbers are compared as integers: their lengths differ. A batch
    that mixes streams comes from no shard and its numbers do not compare; the first failure in
    the event's own order is answered then, since only that leaves none behind it out.

    Raises UndeliverableError if the first failure has no number to name it by.
    """
    if not failed:
        return None
    first = sequence_of(records[min(failed)])
    if first is None:
        raise UndeliverableError(
            f"record {min(failed)} has no sequence number and could not be dead-lettered either; "
            "the batch will be delivered again. Look at the log line before this one for why"
        )
    if len({stream_of(records[place]) for place in failed}) > 1:
        return first
    return min(_numbers(records[place] for place in failed), key=int)


def _numbers(records: Iterable[object]) -> Iterable[str]:
    return (number for number in map(sequence_of, records) if number is not None)


def _records(event: object) -> list[object]:
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise MalformedEventError(
            "the event has no list 'Records': this function takes events of a DynamoDB stream; "
            "invoke it by an event source mapping on the stream's ARN"
        )
    return records


def _message(chunk: Packed, settings: Settings) -> Message:
    task = str(uuid.uuid4())
    body = write_envelope(chunk.payload, settings.queue, id=task)
    return Message(settings.queue_url, body, chunk.places, objects=chunk.objects, task=task)
