"""How status looks, for people and for programs. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from console.deadletters.display import describe_group, printable
from console.rebuild.stand import tell_progress
from console.status.facts import Facts, IndexFacts, Pipeline, Trigger
from console.status.judge import Sign
from console.status.lag import at_most_s
from console.status.words import write_span, write_time
from worker.state import STALE_MS, WorkerState


def describe_pipeline(facts: Pipeline, signs: list[Sign]) -> dict[str, Any]:
    """A queue and its workers, for programs.

    The lag is from a change until it is applied. Searches see it with the next refresh of its
    index: `refresh` of a table's `index` says how long that takes.
    """
    letters = facts.letters
    fields = {**asdict(facts), "signs": [asdict(sign) for sign in signs]}
    return fields | {
        "lag": {"applied_p50_s": _bound(facts, 0.5), "applied_p99_s": _bound(facts, 0.99)}
        | {"window_s": facts.lag.window_s, "changes": sum(facts.lag.counts)},
        "letters": None
        if letters is None
        else asdict(letters) | {"groups": [*map(describe_group, letters.groups)]},
    }


def _bound(facts: Pipeline, share: float) -> float | None:
    """As JSON can carry it: None for no changes, and for more than the last bucket counts."""
    bound = at_most_s(facts.lag, share)
    return None if bound is None or math.isinf(bound) else bound


def describe_table(facts: Facts, signs: list[Sign]) -> dict[str, Any]:
    """A table, for programs."""
    return {**asdict(facts), "signs": [asdict(sign) for sign in signs]}


def write_pipeline(facts: Pipeline) -> list[str]:
    """A queue and its workers, for people, a part a line."""
    lines = [f"queue {facts.queue}"]
    if facts.depth is not None:
        oldest = "" if facts.oldest_s is None else f"; oldest {write_span(facts.oldest_s)}"
        lines.append(
            f"  queue   {facts.depth.waiting:,} waiting, {facts.depth.hidden:,} in work{oldest}"
        )
    if facts.dead is not None:
        lines.append(f"  dead    {facts.dead.total:,}{_write_reasons(facts)}")
    if facts.given_up is not None:
        lines.append(f"  lambda  {facts.given_up.count:,} batches given up on")
    if facts.workers is not None:
        lines.append(f"  lag     {write_lag(facts)}")
        lines += [f"  worker  {_write_worker(one, facts.now_ms)}" for one in facts.workers]
    return [printable(line) for line in lines]


def write_lag(facts: Pipeline) -> str:
    """From the time of a change until it was applied."""
    lag = facts.lag
    parts = [_write_percentile(name, at_most_s(lag, share)) for name, share in _SHARES.items()]
    if not sum(lag.counts):
        return f"no change in the last {write_span(lag.window_s)}" if lag.window_s else "not known"
    return (
        f"{', '.join(parts)} of {sum(lag.counts):,} changes in {write_span(lag.window_s)},"
        " and the refresh of the index"
    )


_SHARES: Mapping[str, float] = {"p50": 0.5, "p99": 0.99}


def _write_percentile(name: str, bound: float | None) -> str:
    if bound is None:
        return f"{name} unknown"
    return f"{name} more than counted" if math.isinf(bound) else f"{name} ≤ {write_span(bound)}"


def _write_reasons(facts: Pipeline) -> str:
    letters = facts.letters
    if letters is None or not letters.groups:
        return ""
    counts = (f"{g.count:,} {g.error} of {g.table or 'no table'}" for g in letters.groups[:4])
    more = ", …" if len(letters.groups) > 4 else ""
    part = "" if letters.complete else f" (of {letters.looked_at:,} looked at)"
    return f": {', '.join(counts)}{more}{part}"


def _write_worker(worker: WorkerState, now_ms: int) -> str:
    if now_ms - worker.at > STALE_MS:
        return f"{worker.worker}: silent since {write_time(worker.at)}"
    polls = "polls" if worker.polling else "does not poll"
    held = f", {worker.held:,} held" if worker.held else ""
    return (
        f"{worker.worker}: {polls}, {worker.in_work:,} in work{held},"
        f" {worker.concurrency:,} processes, valve {worker.valve.state}"
    )


def write_table(facts: Facts) -> list[str]:
    """A table, for people, a part a line."""
    lines = [facts.table]
    table, index = facts.dynamodb, facts.index
    if table is not None:
        stream = f"{table.view} since {table.label}" if table.stream_on else "off"
        lines.append(f"  table   {table.items:,} items or so; stream {stream}")
    lines += [f"  trigger {_write_trigger(one)}" for one in facts.triggers or ()]
    if index is not None:
        lines += _write_index(index)
    if facts.rebuild is not None and facts.rebuild["phase"] not in ("none", "due"):
        stand = facts.rebuild
        lines.append(f"  rebuild {stand['phase']}: to {stand['new']}; {tell_progress(stand)}")
    return [printable(line) for line in lines]


def _write_trigger(trigger: Trigger) -> str:
    text = f"{trigger.uuid} {trigger.state} {trigger.result}".rstrip()
    return text if trigger.age_ms is None else f"{text}; {write_span(trigger.age_ms / 1e3)} behind"


def _write_index(index: IndexFacts) -> Iterator[str]:
    yield (
        f"  index   {index.name}, version {index.version}: {index.live:,} live,"
        f" {index.hidden:,} hidden, {index.tombstones:,} tombstones; refresh {index.refresh}"
    )
    newest = write_time(index.newest_ms) if index.newest_ms is not None else "none"
    agreed = write_time(index.agreement.at_ms) if index.agreement else "never"
    yield f"  newest  change {newest}; proven equal to the table: {agreed}"
