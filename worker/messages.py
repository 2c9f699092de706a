"""What each kind of message sets off: decode, apply, and say in one line what became of it."""

import logging
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from zlib_ng import zlib_ng

from producer.contract import (
    RECORD_TASK,
    Chunk,
    ContractError,
    decode_chunk,
    decode_record,
    write_envelope,
)
from worker.apply import Applier, Tally
from worker.calls import Caller
from worker.deadletters import DeadLetters, Letter
from worker.errors import RefusedError, RejectedError
from worker.fate import Fate, count_lags
from worker.identity import document_id
from worker.tasks import MessageInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MessageHandlers:
    """`worker.tasks.Handlers` on an applier. Returning means: nothing of the message is left."""

    applier: Applier
    caller: Caller
    deadletters: DeadLetters
    queue: str
    clock_ms: Callable[[], int]
    sample: int = 100
    """Percent of chunks that get their line; those with a refusal or a handler's failure always."""

    def changes(self, payload: str, message: MessageInfo) -> Fate:
        """Apply a chunk. What cannot be decoded, or placed, goes to the dead letters whole."""
        started = time.monotonic()
        inflated: list[int] = []
        try:
            chunk = decode_chunk(payload, loads=lambda text: _load(text, inflated), library=zlib_ng)
        except ContractError as error:
            self._reject(payload, message, "UndecodableMessage", str(error))
            return _refused("UndecodableMessage")
        try:
            if chunk.handler is not None:
                return self._call_alone(chunk, message, started)
            tally = self.applier.apply(chunk)
        except RejectedError as error:
            self._reject(payload, message, error.error, str(error))
            return _refused(error.error, len(chunk.changes))
        indexed_ms = self.clock_ms()
        called = self.caller.call(chunk, tally)
        took_ms = round(1000 * (time.monotonic() - started))
        self._tell(message, chunk, tally, took_ms, called)
        fate = measure(chunk, tally, indexed_ms)
        return replace(fate, took_ms=took_ms, wire_bytes=len(payload), json_bytes=sum(inflated))

    def _call_alone(self, chunk: Chunk, message: MessageInfo, started: float) -> Fate:
        """A redrive for one handler. Of news for the valve only if that is the handler's wish."""
        tally = Tally()
        called = self.caller.call_alone(chunk, tally)
        took_ms = round(1000 * (time.monotonic() - started))
        log.info(
            "handler called",
            extra={**_ids(message), **_of_chunk(chunk), "took_ms": took_ms, "handlers": called},
        )
        refused = Counter(tally.guarded.values())
        return Fate(len(chunk.changes) - len(tally.guarded), len(tally.guarded), classes=refused)

    def _tell(
        self,
        message: MessageInfo,
        chunk: Chunk,
        tally: Tally,
        took_ms: int,
        called: dict[str, dict[str, object]],
    ) -> None:
        known = {**_ids(message), **_of_chunk(chunk)}
        if log.isEnabledFor(logging.DEBUG):
            log.debug("documents of a chunk", extra={**known, "documents": list(_documents(chunk))})
        failed = any("error" in report for report in called.values())
        if tally.letters or failed or is_sampled(message.message_id, self.sample):
            lag_ms = self.clock_ms() - min(change.at for change in chunk.changes)
            more = {"lag_ms": lag_ms, "took_ms": took_ms} | ({"handlers": called} if called else {})
            log.info("chunk applied", extra={**known, **tally.report(), **more})

    def record(self, payload: str, message: MessageInfo) -> Fate:
        """A stream record nobody could read waits for a person: back to the dead letters.

        No news for the valve: it was refused before this worker saw it.
        """
        try:
            decode_record(payload)
        except ContractError as error:
            self._reject(payload, message, "UndecodableMessage", str(error), RECORD_TASK)
            return _refused("UndecodableMessage")
        reason = "the producer could not read this stream record, and a worker never can"
        self._reject(payload, message, "UnreadableRecord", reason, RECORD_TASK)
        return Fate(0)

    def undecodable(self, body: str, reason: str, message: MessageInfo) -> Fate:
        """A body that is no message of ours goes to the dead letters as it is."""
        self._send(body, message, "UndecodableMessage", reason)
        return _refused("UndecodableMessage")

    def _reject(
        self, payload: str, message: MessageInfo, error: str, reason: str, task: str = ""
    ) -> None:
        arguments = {"task": task} if task else {}
        body = write_envelope(payload, self.queue, id=message.task_id, **arguments)
        self._send(body, message, error, reason)

    def _send(self, body: str, message: MessageInfo, error: str, reason: str) -> None:
        self.deadletters.send_body(body, Letter(error, reason))
        log.warning("message dead-lettered", extra={**_ids(message), "why": error})


def is_sampled(message_id: str, percent: int) -> bool:
    """Whether a message is among so many percent of all: the same answer whenever it comes."""
    return zlib.crc32(message_id.encode()) % 100 < percent


def measure(chunk: Chunk, tally: Tally, indexed_ms: int) -> Fate:
    """What became of a chunk's changes, and how old each was when the index had it. Pure.

    A read of the table is as old as the backfill's queue is long, which is no lag of the stream;
    a refused change was never indexed.
    """
    refused = {id(change) for _, change, _ in tally.letters}
    lags = [
        max(indexed_ms - change.at, 0)
        for change in (chunk.changes if chunk.stream else ())
        if id(change) not in refused
    ]
    return Fate(
        done=len(chunk.changes) - tally.refused - len(tally.guarded),
        refused=tally.refused + len(tally.guarded),
        applied=tally.applied,
        obsolete=tally.obsolete,
        folded=tally.folded + tally.settled,
        conflicts=tally.conflicts,
        bulk_ms=tally.bulk_ms,
        lag_sum_ms=sum(lags),
        lag_max_ms=max(lags, default=0),
        lags=count_lags(lag / 1000 for lag in lags) if lags else (),
        classes=Counter(
            [*(letter.error for _, _, letter in tally.letters), *tally.guarded.values()]
        ),
    )


def _load(text: bytes, sizes: list[int]) -> Any:
    sizes.append(len(text))
    return orjson.loads(text)


def _refused(error: str, changes: int = 1) -> Fate:
    return Fate(0, changes, classes={error: changes})


def _documents(chunk: Chunk) -> Iterator[str]:
    for change in chunk.changes:
        with suppress(RefusedError):
            yield document_id(change.key)


def _of_chunk(chunk: Chunk) -> dict[str, object]:
    return {
        "table": chunk.table,
        "stream": chunk.stream,
        "changes": len(chunk.changes),
        "first": chunk.changes[0].sequence,
        "last": chunk.changes[-1].sequence,
    }


def _ids(message: MessageInfo) -> dict[str, object]:
    return {
        "message_id": message.message_id,
        "task_id": message.task_id,
        "receives": message.receive_count,
    }
