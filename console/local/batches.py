"""What Lambda's event source mapping does next with a batch of a DynamoDB stream. Pure.

A batch, what came of it, and the settings go in; what is settled, what comes again and what is
given up comes out. Time is an argument. The sources are pages of the AWS Lambda Developer Guide,
https://docs.aws.amazon.com/lambda/latest/dg/, quoted here by file name:

- invocation-eventsourcemapping.html  batch size, batching window, payload limit
- services-ddb-params.html            parameters, their defaults and ranges
- services-ddb-batchfailurereporting.html   partial batch responses, bisecting
- services-dynamodb-errors.html       retries, record age, on-failure destination

Where those pages are silent we chose, and say so at the place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Literal, TypeAlias

RETENTION_S: Final = 24 * 3600
"""A stream record lives 24 hours; it is never retried beyond that (services-ddb-params.html)."""

EVENT_FRAME_BYTES: Final = len('{"Records":[]}')

StartingPosition: TypeAlias = Literal["TRIM_HORIZON", "LATEST"]
Condition: TypeAlias = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
"""Why a batch was given up. The first is in AWS's own example; the second is not documented, but
is what invocation records found in public reports carry."""


class TriggerSettingsError(ValueError):
    """A setting lies outside what Lambda accepts: nothing starts until it is corrected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSettings:
    """Parameters of the mapping, with Lambda's defaults and ranges (services-ddb-params.html).

    Raises TriggerSettingsError for a value that Lambda would refuse.
    """

    batch_size: int = 100
    """BatchSize: most records of one invocation, 1 to 10,000."""
    window_s: int = 0
    """MaximumBatchingWindowInSeconds, 0 to 300."""
    starting_position: StartingPosition = "TRIM_HORIZON"
    """StartingPosition."""
    parallelization: int = 1
    """ParallelizationFactor: batches of one shard at the same time, 1 to 10."""
    retries: int = -1
    """MaximumRetryAttempts, 0 to 10,000; -1: until the record expires."""
    record_age_s: int = -1
    """MaximumRecordAgeInSeconds, 60 to 604,800; -1: until the record expires."""
    bisect: bool = False
    """BisectBatchOnFunctionError."""
    report_failures: bool = False
    """ReportBatchItemFailures among the FunctionResponseTypes."""
    payload_bytes: int = 6 * 1024 * 1024
    """Most bytes of an invocation's event. Lambda's 6 MB cannot be changed; tests may lower it."""
    timeout_s: float = 60.0
    """The function's timeout. One that returns later than this has failed."""
    function_name: str = "producer"
    """The function's name, for its context and for invocation records."""
    poll_s: float = 0.25
    """Pause between polls that found nothing: Lambda polls a shard four times a second."""

    def __post_init__(self) -> None:
        _require("batch_size", self.batch_size, 1, 10_000)
        _require("window_s", self.window_s, 0, 300)
        _require("parallelization", self.parallelization, 1, 10)
        _require("retries", self.retries, -1, 10_000)
        if self.record_age_s != -1:
            _require("record_age_s", self.record_age_s, 60, 604_800, "-1 or ")
        _require("payload_bytes", self.payload_bytes, 1, 6 * 1024 * 1024)
        if self.starting_position not in ("TRIM_HORIZON", "LATEST"):
            raise TriggerSettingsError(
                f"starting_position is {self.starting_position!r}: use TRIM_HORIZON or LATEST"
            )
        if self.timeout_s <= 0 or self.poll_s < 0:
            raise TriggerSettingsError("timeout_s must be above 0 and poll_s not below it")


def _require(name: str, value: int, low: int, high: int, more: str = "") -> None:
    if not low <= value <= high:
        raise TriggerSettingsError(f"{name} is {value}: use {more}{low} to {high}")


@dataclass(frozen=True, slots=True)
class Record:
    """One stream record, as the function will get it."""

    sequence: str
    """SequenceNumber. Its order is the order of integers, never of text."""
    at: float
    """ApproximateCreationDateTime, seconds since the epoch."""
    partition: str
    """The value of its partition key, as text that is equal for equal values only."""
    text: str
    """The record of the Lambda event, as compact JSON."""
    arrival: int = 0
    """Its place in the order in which the shard was read."""

    bytes: int = field(init=False)
    """Length of `text` on the wire, in UTF-8."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bytes", len(self.text.encode()))


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The whole batch is done."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The whole batch failed, for this reason."""

    reason: str
    raised: bool = True
    """Whether the function itself ended in an error (else its answer was no good)."""


@dataclass(frozen=True, slots=True)
class PartlyFailed:
    """The function reported failures: the checkpoint is the record at this place of the batch."""

    checkpoint: int


Outcome: TypeAlias = Succeeded | Failed | PartlyFailed


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that go to the function together, and what became of them so far."""

    records: tuple[Record, ...]
    retries: int = 0
    """Retries that counted against MaximumRetryAttempts."""
    invocations: int = 0
    """Times that these records were given to the function, bisecting included."""
    request_id: str = ""
    """Request id of the latest invocation; empty before the first."""
    failure: Failed | PartlyFailed | None = None
    """What came of the latest invocation."""

    @property
    def event(self) -> str:
        """The invocation's payload, as JSON."""
        return '{"Records":[' + ",".join(record.text for record in self.records) + "]}"

    def with_invocation(self, request_id: str) -> "Batch":
        """This batch once it is given to the function under that request id."""
        return replace(self, invocations=self.invocations + 1, request_id=request_id)


@dataclass(frozen=True, slots=True)
class Discard:
    """Records given up: they go to the on-failure destination, and the shard moves on."""

    batch: Batch
    condition: Condition


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens next. Every record of the batch is in exactly one of the three."""

    settled: tuple[Record, ...] = ()
    """Done: the checkpoint may pass them."""
    again: tuple[Batch, ...] = ()
    """They come again, one batch after the other, before anything newer."""
    discard: Discard | None = None


def decide(batch: Batch, outcome: Outcome, settings: TriggerSettings) -> Decision:
    """What follows from an invocation of `batch` that ended in `outcome`.

    Bisecting comes before counting, since "splitting batches doesn't consume the retry quota"
    (services-dynamodb-errors.html). Our choices where the documentation is silent: a partial
    response costs a retry when bisecting is off; a checkpoint at the first record leaves nothing
    to split off, so that batch is halved as a wholly failed one is.
    """
    if isinstance(outcome, Succeeded):
        return Decision(settled=batch.records)
    done = outcome.checkpoint if isinstance(outcome, PartlyFailed) else 0
    settled = batch.records[:done]
    rest = replace(batch, records=batch.records[done:], failure=outcome)
    if settings.bisect and len(batch.records) > 1:
        return Decision(settled, again=(rest,) if done else _halve(rest))
    if 0 <= settings.retries <= batch.retries:
        return Decision(settled, discard=Discard(rest, "RetryAttemptsExhausted"))
    return Decision(settled, again=(replace(rest, retries=batch.retries + 1),))


def _halve(batch: Batch) -> tuple[Batch, Batch]:
    middle = len(batch.records) // 2
    first, second = batch.records[:middle], batch.records[middle:]
    return replace(batch, records=first), replace(batch, records=second)


def expire(batch: Batch, settings: TriggerSettings, now: float) -> Decision:
    """Give up the records at the head of `batch` that are too old to be tried (again).

    Lambda discards "records older than the specified age"; the younger ones behind them come
    again with their count unchanged. Without a limit the stream's own retention is the limit.
    """
    limit = RETENTION_S if settings.record_age_s < 0 else min(settings.record_age_s, RETENTION_S)
    old = 0
    while old < len(batch.records) and now - batch.records[old].at > limit:
        old += 1
    if not old:
        return Decision(again=(batch,))
    head = replace(batch, records=batch.records[:old])
    tail = replace(batch, records=batch.records[old:])
    return Decision(
        again=(tail,) if tail.records else (), discard=Discard(head, "RecordAgeExceeded")
    )


def read_response(batch: Batch, response: object, settings: TriggerSettings) -> Outcome:
    """What the function's answer, parsed from JSON, says (services-ddb-batchfailurereporting.html).

    Without ReportBatchItemFailures no answer is read. With it: a null or empty answer, or a null
    or empty list, is success; an identifier that is null, empty or under another name fails the
    whole batch. An answer of another shape and a sequence number that is not in the batch are
    not described there: they fail the whole batch too, so that nothing is lost.
    """
    if not settings.report_failures or response is None:
        return Succeeded()
    if not isinstance(response, Mapping):
        return Failed(f"the answer is {type(response).__name__}, not an object", raised=False)
    failures = response.get("batchItemFailures")
    if failures is None or failures == []:
        return Succeeded()
    if not isinstance(failures, list):
        return Failed("batchItemFailures is not a list", raised=False)
    return _find_checkpoint(batch, failures)


def _find_checkpoint(batch: Batch, failures: list[object]) -> Outcome:
    """The lowest sequence number reported, "if the array contains multiple items"."""
    places = {record.sequence: i for i, record in reversed(list(enumerate(batch.records)))}
    lowest: str | None = None
    for failure in failures:
        sequence = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        if not isinstance(sequence, str) or sequence not in places:
            return Failed(
                f"batchItemFailures holds {failure!r}, which names no record of the batch",
                raised=False,
            )
        if lowest is None or int(sequence) < int(lowest):
            lowest = sequence
    return PartlyFailed(places[lowest]) if lowest is not None else Succeeded()


@dataclass(frozen=True, slots=True)
class Cut:
    """How many waiting records make the next batch, and whether it cannot grow any more."""

    count: int
    full: bool


def cut_batch(waiting: Iterable[Record], settings: TriggerSettings) -> Cut:
    """The next batch of the records that wait, in their order.

    It ends at the batch size or before the record that would take it past the payload limit
    (invocation-eventsourcemapping.html). A record above the limit by itself goes alone.
    """
    count, size = 0, EVENT_FRAME_BYTES
    for record in islice(waiting, settings.batch_size):
        size += record.bytes + (1 if count else 0)
        if count and size > settings.payload_bytes:
            return Cut(count, full=True)
        count += 1
    return Cut(count, full=count == settings.batch_size or size >= settings.payload_bytes)
