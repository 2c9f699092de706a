"""What the facts of a queue and its workers mean. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from console.status.facts import Pipeline
from console.status.judge import (
    CLOSE,
    SLOW_S,
    Sign,
    judge_given_up,
    judge_unknown,
    sort_signs,
)
from console.status.lag import more_than_s
from console.status.words import write_span, write_time
from worker.state import WorkerState

IN_FLIGHT: Final = 100_000
"""At about 120,000 SQS hands out no more, without an error (Amazon SQS Developer Guide, quotas)."""

_SHOWN: Final = 3


def judge_pipeline(facts: Pipeline) -> list[Sign]:
    """Everything worth saying of what all tables share, the red first."""
    return sort_signs(
        [
            *judge_unknown(facts.unknown),
            *_judge_workers(facts),
            *_judge_valves(facts),
            *_judge_queue(facts),
            *_judge_age(facts),
            *_judge_lag(facts),
            *_judge_dead(facts),
            *_judge_given_up(facts),
        ]
    )


def _judge_workers(facts: Pipeline) -> Iterator[Sign]:
    if facts.workers is None:
        return
    if not facts.fresh:
        last = max((worker.at for worker in facts.workers), default=None)
        since = "and none ever did" if last is None else f"the last did at {write_time(last)}"
        yield Sign(
            "red",
            f"no worker of {facts.queue} reports, {since}: nothing is taken from the queue",
            "start one: python -m worker; if one runs, see its log",
        )
    elif facts.stale:
        yield Sign(
            "note",
            f"died, or hang: {_name(facts.stale)}, last heard of"
            f" {write_time(max(worker.at for worker in facts.stale))}",
            "what they had in work comes again by itself; see their logs",
        )
    still = [worker for worker in facts.fresh if not worker.polling]
    if still:
        yield Sign(
            "red",
            f"{_name(still)}: the poll loop stands still",
            "a worker that stays so ends itself; see its log",
        )
    waiting = [worker for worker in facts.fresh if worker.breaker != "open"]
    if waiting:
        yield Sign(
            "red",
            f"{_name(waiting)}: the cluster is away, so no messages are taken",
            "it goes on by itself when the cluster answers; its log quotes the cluster",
        )


def _judge_valves(facts: Pipeline) -> Iterator[Sign]:
    for worker in facts.fresh:
        valve = worker.valve
        if valve.state == "open":
            continue
        trial = f", a trial at {write_time(valve.trial_at)}" if valve.trial_at else ""
        state = "is shut" if valve.state == "shut" else "lets one message through, as a trial"
        yield Sign(
            "red",
            f"the valve of {worker.worker} {state} since {write_time(valve.since)}{trial}:"
            f" {valve.why or 'too much was refused'}",
            "sluice dead-letters groups --newer-than 1h; mend the cause, then: sluice valve open",
        )


def _judge_queue(facts: Pipeline) -> Iterator[Sign]:
    if facts.depth is not None and facts.depth.hidden >= IN_FLIGHT:
        yield Sign(
            "red",
            f"{facts.depth.hidden:,} messages are in work: at about 120,000 SQS hands out no more",
            "docs/runbook.md, in-flight",
        )


def _judge_age(facts: Pipeline) -> Iterator[Sign]:
    age_s = facts.oldest_s
    if age_s is None or facts.depth is None or not facts.depth.total:
        return
    if facts.retention_s is not None and age_s >= CLOSE * facts.retention_s:
        yield Sign(
            "red",
            f"repair needed since {write_time(facts.now_ms - round(1_000 * age_s))}: the oldest"
            f" message is {write_span(age_s)} old, and the queue forgets after"
            f" {write_span(facts.retention_s)}",
            "let the workers drain it, then repair each table: sluice repair TABLE",
        )
    elif age_s >= SLOW_S:
        yield Sign(
            "note",
            f"the oldest message has waited for {write_span(age_s)}",
            "docs/runbook.md, oldest-message",
        )


def _judge_lag(facts: Pipeline) -> Iterator[Sign]:
    least_s = more_than_s(facts.lag, 0.99)
    if facts.retention_s is not None and least_s >= CLOSE * facts.retention_s:
        yield Sign(
            "red",
            f"repair needed since {write_time(facts.now_ms - round(1_000 * least_s))}: changes are"
            f" applied more than {write_span(least_s)} late, and the queue forgets after"
            f" {write_span(facts.retention_s)}",
            "let the workers drain it, then repair each table: sluice repair TABLE",
        )


def _judge_dead(facts: Pipeline) -> Iterator[Sign]:
    if facts.dead is None or not facts.dead.total:
        return
    yield Sign(
        "red",
        f"dead letters: {facts.dead.total:,}, changes that are not in the index",
        "sluice dead-letters groups",
    )
    sent_ms = facts.letters.oldest_sent_ms if facts.letters else None
    if sent_ms is None or facts.dead_retention_s is None:
        return
    if facts.now_ms - sent_ms >= CLOSE * 1_000 * facts.dead_retention_s:
        yield Sign(
            "red",
            f"repair needed since {write_time(sent_ms)}: the dead letters of then are forgotten at"
            f" {write_time(sent_ms + 1_000 * facts.dead_retention_s)}",
            "sluice dead-letters export FILE, then redrive; what is gone: sluice repair TABLE",
        )


def _judge_given_up(facts: Pipeline) -> Iterator[Sign]:
    remedy = "end the cause, then: sluice dead-letters lambda forward"
    sign = judge_given_up(facts.given_up, remedy) if facts.given_up is not None else None
    if sign is not None:
        yield sign


def _name(workers: Sequence[WorkerState]) -> str:
    names = [worker.worker for worker in workers]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
