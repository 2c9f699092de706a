"""A chunk's changes to the handlers of their table: filter, call, try again, dead-letter.

It comes after the index, and nothing that happens here undoes or repeats the index's work: what a
handler cannot do is dead-lettered for that handler alone.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from producer.contract import Change, Chunk, Stream, parse_stream_arn
from worker.apply import Tally, find_table
from worker.deadletters import DeadLetters, Letter
from worker.documents import read_subject
from worker.errors import ConfigurationError, RefusedError, RejectedError
from worker.events import Event, IndexFate, Insert, Metadata, Modify, Remove, is_expiry
from worker.handlers import ChangesFailed, Handler, longest_s, pauses
from worker.identity import document_id, key_text
from worker.overflow import Overflow
from worker.runner import Runner, Work
from worker.tables import Table
from worker.values import read_item

log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")

WEARY: Final = 3
"""After so many chunks in a row that failed, a handler is tried once a chunk, until it succeeds:
else each chunk would wait for its pauses, and the index of the next ones with it."""


INDEX_S: Final = 60.0
"""Of a task's time, what is left to the index."""


@dataclass(slots=True)
class Call:
    """One handler, and what it has still to do of one chunk."""

    handler: Handler[Any]
    waiting: dict[int, tuple[Change, Event[Any]]]
    """By the identity of the event: what is neither done nor given up."""
    letters: list[tuple[Change, Letter]] = field(default_factory=list)
    given: int = 0
    attempts: int = 0
    error: Exception | None = None
    took_s: float = 0.0

    def arguments(self) -> tuple[list[Event[Any]]]:
        """What the handler is called with."""
        return ([event for _, event in self.waiting.values()],)

    def take(self, error: Exception | None) -> None:
        """What an attempt ended with."""
        self.attempts += 1
        self.error = error
        if error is None:
            self.waiting = {}
        elif isinstance(error, ChangesFailed):
            named = {id(event) for event in error.changes}
            self.waiting = {k: v for k, v in self.waiting.items() if k in named} or self.waiting

    def report(self) -> dict[str, object]:
        """For the log: numbers, and the class of the last error. No content of any change."""
        found: dict[str, object] = {
            "changes": self.given,
            "attempts": self.attempts,
            "failed": len(self.letters),
        }
        return found if self.error is None else {**found, "error": type(self.error).__name__}


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls the owners' handlers. One per process."""

    tables: Mapping[str, Table[Any]]
    overflow: Overflow
    deadletters: DeadLetters
    runner: Runner = field(default_factory=Runner)
    sleep: Callable[[float], None] = time.sleep
    failures: dict[tuple[str, str], int] = field(default_factory=dict)
    """Of each handler: the chunks in a row in which it failed."""

    def call(self, chunk: Chunk, tally: Tally) -> dict[str, dict[str, object]]:
        """Give a chunk that the index is done with to its table's handlers; a report on each.

        A change that the index refused waits: its dead letter comes back to both. A read is no
        change, and goes to no handler. Raises UnavailableError when the message must come again.
        """
        table = find_table(self.tables, chunk)
        if not table.handlers or chunk.stream is None:
            return {}
        return self._call(table, chunk, table.handlers, _tell_fates(chunk, tally), tally)

    def call_alone(self, chunk: Chunk, tally: Tally) -> dict[str, dict[str, object]]:
        """Give a chunk to the one handler that it is addressed to; the index is left alone.

        A change of a kind that this handler takes no more is dead-lettered again. Raises
        RejectedError if nobody declared the table or the handler; UnavailableError.
        """
        table = find_table(self.tables, chunk)
        handlers = [handler for handler in table.handlers if handler.name == chunk.handler]
        if not handlers or chunk.stream is None:
            raise RejectedError(
                "UnknownHandler",
                f"the table {chunk.table!r} has no handler {chunk.handler!r:.80}",
                hint="deploy the worker that has it, then redrive",
            )
        return self._call(table, chunk, handlers, [(c, "unknown") for c in chunk.changes], tally)

    def _call(
        self,
        table: Table[Any],
        chunk: Chunk,
        handlers: Iterable[Handler[Any]],
        changes: Sequence[tuple[Change, IndexFate]],
        tally: Tally,
    ) -> dict[str, dict[str, object]]:
        stream = parse_stream_arn(chunk.stream or "")
        whole = _Images(self.overflow)
        addressed = chunk.handler is not None
        calls = [
            _prepare(table, stream, handler, changes, whole, addressed=addressed)
            for handler in handlers
        ]
        self._try(table, [call for call in calls if call.waiting])
        for call in calls:
            self._give_up(table, chunk, call)
            if call.handler.valve:
                tally.guarded |= {
                    id(change): f"{call.handler.name}:{letter.error}"
                    for change, letter in call.letters
                }
        return {call.handler.name: call.report() for call in calls if call.given}

    def _try(self, table: Table[Any], calls: Sequence[Call]) -> None:
        """Attempt after attempt, until each call is done or may not be tried again."""
        most = max((call.handler.attempts for call in calls), default=0)
        for number, pause_s in enumerate([0.0, *pauses(most)][:most]):
            again = [call for call in calls if call.waiting and self._may(table, call, number)]
            if not again:
                return
            if pause_s:
                self.sleep(pause_s)
            for call, error in zip(again, self._attempt(table, again), strict=True):
                call.take(error)

    def _may(self, table: Table[Any], call: Call, number: int) -> bool:
        weary = self.failures.get((table.name, call.handler.name), 0) >= WEARY
        return number < (1 if weary else call.handler.attempts)

    def _attempt(self, table: Table[Any], calls: Sequence[Call]) -> list[Exception | None]:
        if table.strategy == "concurrent" and len(calls) > 1:
            return self.runner.run_all([_work(table, call) for call in calls])
        return [self._run(_work(table, call)) for call in calls]

    def _run(self, work: Work) -> Exception | None:
        try:
            self.runner.run(work)
        except Exception as error:  # noqa: BLE001 - the owner's code; it ends in a dead letter
            return error
        return None

    def _give_up(self, table: Table[Any], chunk: Chunk, call: Call) -> None:
        """Dead letters for what is not done, once the owner's hook has heard of it."""
        place = (table.name, call.handler.name)
        if call.waiting and call.error is not None:
            self.failures[place] = self.failures.get(place, 0) + 1
            self._tell_owner(table, call, call.error)
            error, reason = describe(call.error)
            call.letters += [
                (change, _letter(table, call.handler, change, error, reason))
                for change, _ in call.waiting.values()
            ]
        elif call.attempts:
            self.failures.pop(place, None)
        addressed = replace(chunk, handler=call.handler.name)
        for change, letter in call.letters:
            self.deadletters.send_change(addressed, change, letter)

    def _tell_owner(self, table: Table[Any], call: Call, error: Exception) -> None:
        hook = call.handler.on_error
        if hook is None:
            return
        work = _work(table, call)
        failure = self._run(work._replace(function=hook, arguments=(error, *work.arguments)))
        if failure is not None:
            log.error(
                "the error hook of a handler failed",
                extra={"handler": call.handler.name, "why": type(failure).__name__},
            )


def _tell_fates(chunk: Chunk, tally: Tally) -> list[tuple[Change, IndexFate]]:
    """What became of each change, but those that the index refused."""
    taken = {id(change) for change in tally.taken}
    refused = [change for _, change, _ in tally.letters if id(change) not in taken]
    waiting = {id(change) for change in refused}
    # Earlier changes of such an item were folded into the refused one: the index has neither.
    unsure = {key_text(change.key) for change in refused}

    def tell(change: Change) -> IndexFate:
        if id(change) in taken:
            return "applied"
        return "unknown" if key_text(change.key) in unsure else "obsolete"

    return [(change, tell(change)) for change in chunk.changes if id(change) not in waiting]


def _work(table: Table[Any], call: Call) -> Work:
    """A call as the runner takes it. Its home: a handler that blocks holds up no other."""
    handler = call.handler
    home = f"{table.name}/{handler.name}"
    return Work(handler.run, call.arguments(), handler.time_limit_s, home)


@dataclass(frozen=True, slots=True)
class _Images:
    """Fetches a change's images from the overflow bucket, once for all handlers."""

    overflow: Overflow
    fetched: dict[int, Change | RefusedError] = field(default_factory=dict)

    def of(self, change: Change) -> Change:
        """The change with its images. Raises RefusedError, UnavailableError."""
        if change.overflow is None:
            return change
        if id(change) not in self.fetched:
            try:
                self.fetched[id(change)] = self.overflow.fetch(change)
            except RefusedError as error:
                self.fetched[id(change)] = error
        found = self.fetched[id(change)]
        if isinstance(found, RefusedError):
            raise found
        return found


def _prepare(
    table: Table[Any],
    stream: Stream,
    handler: Handler[Any],
    changes: Iterable[tuple[Change, IndexFate]],
    images: _Images,
    *,
    addressed: bool,
) -> Call:
    """What one handler is to be given. Each gets objects of its own, and may change them.

    addressed: to this handler alone, which wanted such changes once; then none goes unseen.
    """
    call = Call(handler, {})
    for change, fate in changes:
        wanted = change.kind in handler.kinds
        call.given += wanted or addressed
        if not wanted and addressed:
            reason = f"it takes {handler.events}, and this is a {change.kind}"
            letter = _letter(table, handler, change, "UnwantedChange", reason)
            call.letters.append((change, letter))
        if not wanted:
            continue
        try:
            event = read_event(table, stream, images.of(change), fate)
        except RefusedError as error:
            letter = _letter(table, handler, change, error.error, error.reason)
            call.letters.append((change, letter))
            continue
        call.waiting[id(event)] = (change, event)
    return call


def read_event(
    table: Table[ItemT], stream: Stream, change: Change, index: IndexFate
) -> Event[ItemT]:
    """A change of the stream as its handlers see it.

    An old image that today's model refuses is none: what an item was years ago cannot be mended, so
    every change of it would be lost to its handlers. Raises RefusedError if the new image is
    malformed, or the model refuses it.
    """
    before = _read_old(table, change)
    old = before[0]
    meta = Metadata(
        table=table.name,
        key=read_item(change.key),
        time=datetime.fromtimestamp(change.at / 1000, UTC),
        sequence=change.sequence or "",
        stream=stream.label,
        region=stream.region,
        account=stream.account,
        expired=is_expiry(change.identity),
        identity=change.identity,
        index=index,
        old_error=before[1],
    )
    if change.kind == "REMOVE":
        return Remove(old, meta)
    if change.new is None:
        raise RefusedError("MalformedItem", f"a {change.kind} without its new image")
    new = read_subject(table, change.new)
    return Insert(new, meta) if change.kind == "INSERT" else Modify(new, old, meta)


def _read_old(table: Table[ItemT], change: Change) -> tuple[ItemT | None, str]:
    """The item before, if it can be had, else why not."""
    if change.old is None:
        return None, ""
    try:
        old = read_subject(table, change.old)
    except RefusedError as error:
        return None, str(error)
    return old, ""


def check_limits(tables: Iterable[Table[Any]], limit_s: float) -> None:
    """Raise ConfigurationError where a table's handlers may take more than the task's time.

    limit_s: of a task that handles a message; some of it is the index's.
    """
    for table in tables:
        longest = longest_s(table.handlers, table.strategy)
        if table.handlers and longest > limit_s - INDEX_S:
            raise ConfigurationError(
                f"the handlers of {table.name} may take {longest:g} s for one chunk, which with"
                f" {INDEX_S:g} s for the index is more than a task's {limit_s:g} s",
                hint="raise SLUICE_TASK_LIMIT_S, lower their time_limit_s or attempts, or run them"
                ' with strategy="concurrent"',
            )


def describe(error: Exception) -> tuple[str, str]:
    """Class and words of a handler's error."""
    return type(error).__name__, str(error) or "no further words"


def _letter(
    table: Table[Any], handler: Handler[Any], change: Change, error: str, reason: str
) -> Letter:
    try:
        document = document_id(change.key)
    except RefusedError:
        document = ""
    return Letter(error, f"handler {handler.name}: {reason}", table.name, "", document)
