"""What the facts of a table mean: what is red, and what to do about it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from console.rebuild.stand import PHASES
from console.session import TableFacts
from console.status.facts import Facts, GivenUp, IndexFacts, Trigger, Unknown
from console.status.words import write_span, write_time

Level: TypeAlias = Literal["red", "note"]

BORN_WITH_STREAM_S: Final = 60.0
"""A stream that is so much younger than its table at most has missed nothing of it."""

STREAM_S: Final = 86_400.0
"""How long DynamoDB keeps a stream's records (DynamoDB Developer Guide, "Change data capture")."""

CLOSE: Final = 0.8
"""From this share of a retention on, what waits is in danger."""

SLOW_S: Final = 300.0
"""What is behind by so much is worth a note."""

_VIEWS: Final = ("NEW_IMAGE", "NEW_AND_OLD_IMAGES")

_NOTES: Final = frozenset({"trigger", "retention", "CloudWatch", "lambda failures", "reasons"})
"""What a pipeline can do without: not to know it is no fault of the pipeline."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing to know. Red: something is wrong and somebody must act."""

    level: Level
    what: str
    remedy: str = ""


def judge(facts: Facts) -> list[Sign]:
    """Everything worth saying of a table, the red first."""
    return sort_signs(
        [
            *judge_unknown(facts.unknown),
            *_judge_stream(facts),
            *_judge_triggers(facts),
            *_judge_put_away(facts),
            *_judge_waited(facts),
            *_judge_index(facts),
            *_judge_rebuild(facts),
            *_judge_gap(facts),
        ]
    )


def sort_signs(signs: list[Sign]) -> list[Sign]:
    """The red first, else as they are."""
    return sorted(signs, key=lambda sign: sign.level != "red")


def judge_unknown(unknown: Mapping[str, Unknown]) -> Iterator[Sign]:
    """What could not be asked; what has one cause is told once."""
    causes: dict[Unknown, list[str]] = {}
    for name, why in unknown.items():
        causes.setdefault(why, []).append(name)
    for why, names in causes.items():
        level: Level = "note" if _NOTES.issuperset(names) else "red"
        yield Sign(level, f"{', '.join(names)} unknown: {why.what}", why.hint)


def _judge_stream(facts: Facts) -> Iterator[Sign]:
    table = facts.dynamodb
    if table is None:
        return
    if table.status and table.status != "ACTIVE":
        yield Sign("note", f"the table is {table.status}")
    if not table.stream_on:
        yield Sign(
            "red",
            "the table has no stream: changes are not indexed",
            "enable a stream with new images, then: sluice repair " + facts.table,
        )
    elif table.view not in _VIEWS:
        yield Sign(
            "red",
            f"the stream carries {table.view}, not the new images",
            "a stream's view is fixed: disable it, enable one of NEW_IMAGE, then: sluice repair "
            + facts.table,
        )


def _judge_triggers(facts: Facts) -> Iterator[Sign]:
    if facts.triggers is None:
        return
    if not facts.triggers:
        yield Sign("red", "no Lambda function reads the stream", "create the event source mapping")
    for trigger in facts.triggers:
        yield from _judge_trigger(trigger, facts)


def _judge_trigger(trigger: Trigger, facts: Facts) -> Iterator[Sign]:
    update = f"aws lambda update-event-source-mapping --uuid {trigger.uuid}"
    if trigger.state not in ("Enabled", "Enabling", "Creating", "Updating"):
        yield Sign(
            "red",
            f"the trigger {trigger.uuid} is {trigger.state}: after 24 hours changes are lost",
            f"{update} --enabled",
        )
    if trigger.result.startswith("PROBLEM"):
        yield Sign("red", f"the trigger's last result: {trigger.result:.200}", "see its log")
    if not trigger.reports:
        yield Sign(
            "red",
            f"the trigger {trigger.uuid} does not heed batchItemFailures: what the producer could"
            " not send is lost",
            f"{update} --function-response-types ReportBatchItemFailures, then: sluice repair"
            f" {facts.table}",
        )
    yield from _judge_destination(trigger, facts.table, update)
    if trigger.undelivered_since_ms is not None:
        yield Sign(
            "red",
            f"repair needed since {_before(trigger.undelivered_since_ms, STREAM_S)}: Lambda gave"
            f" up on {trigger.undelivered:,} batches, and could not keep them",
            f"sluice repair {facts.table}",
        )
    age_s = None if trigger.age_ms is None else trigger.age_ms / 1_000
    if age_s is not None:
        yield from _judge_age(age_s, facts)
    if trigger.late_since_ms is not None and (age_s is None or age_s < CLOSE * STREAM_S):
        yield Sign(
            "red",
            f"repair needed since {write_time(trigger.late_since_ms)}: the producer has caught up,"
            " but was so far behind the stream, which forgets after 24 h",
            f"sluice repair {facts.table}",
        )


def _judge_destination(trigger: Trigger, table: str, update: str) -> Iterator[Sign]:
    """Where Lambda puts what it gives up on."""
    if is_bucket(trigger.on_failure):
        return
    gives_up = trigger.retries >= 0 or trigger.record_age_s >= 0
    if trigger.on_failure:
        yield Sign(
            "note",
            f"the trigger {trigger.uuid} tells {trigger.on_failure} what it gives up on, and keeps"
            " no copy in S3: whether it did is not known",
            "give it an on-failure destination in S3",
        )
    elif gives_up:
        yield Sign(
            "red",
            f"the trigger {trigger.uuid} gives up on records and keeps no copy of them: they are"
            " lost, and nobody is told",
            f"give it an on-failure destination in S3, or let it try for ever: {update}"
            " --maximum-retry-attempts -1 --maximum-record-age-in-seconds -1, then: sluice repair"
            f" {table}",
        )
    else:
        yield Sign(
            "note",
            f"the trigger {trigger.uuid} keeps no copy in S3 of records that it gives up on",
            "give it an on-failure destination in S3",
        )


def is_bucket(arn: str) -> bool:
    """Whether an on-failure destination keeps the records themselves."""
    return arn.startswith("arn:") and ":s3:" in arn


def judge_given_up(there: GivenUp, remedy: str) -> Sign | None:
    """What Lambda put away and nobody has forwarded."""
    if not there.count:
        return None
    count = f"{there.count:,}" if there.complete else f"{there.count:,} or more"
    since = f"repair needed since {there.since}: " if there.since else "repair needed: "
    of = f" of {', '.join(there.tables)}" if there.tables else ""
    return Sign(
        "red", f"{since}Lambda gave up on {count} batches{of}, which wait in {there.bucket}", remedy
    )


def _judge_put_away(facts: Facts) -> Iterator[Sign]:
    for there in facts.given_up:
        setting = f"SLUICE_ON_FAILURE_BUCKET={there.bucket}"
        sign = judge_given_up(there, f"{setting} sluice dead-letters lambda forward")
        if sign is not None:
            yield sign


def _judge_waited(facts: Facts) -> Iterator[Sign]:
    if facts.waited_since_ms is not None:
        yield Sign(
            "red",
            f"repair needed since {write_time(facts.waited_since_ms)}: since index and table were"
            " last proven equal, a message of then was about to be forgotten by its queue",
            f"sluice repair {facts.table}",
        )


def _judge_age(age_s: float, facts: Facts) -> Iterator[Sign]:
    if age_s >= CLOSE * STREAM_S:
        yield Sign(
            "red",
            f"repair needed since {_before(facts.now_ms, age_s)}: the producer is"
            f" {write_span(age_s)} behind the stream, which forgets after 24 h",
            f"see the producer's log, then: sluice repair {facts.table}",
        )
    elif age_s >= SLOW_S:
        yield Sign(
            "note",
            f"the producer is {write_span(age_s)} behind the stream",
            "docs/runbook.md, iterator-age",
        )


def _judge_index(facts: Facts) -> Iterator[Sign]:
    index = facts.index
    if index is None:
        return
    items = facts.dynamodb.items if facts.dynamodb is not None else 0
    if items and not index.live + index.hidden + index.tombstones:
        yield Sign(
            "red",
            f"{index.name} is empty, the table has {items:,} items or so",
            f"sluice backfill {facts.table}",
        )
    if index.foreign:
        yield Sign(
            "red",
            f"{index.foreign:,} documents that Sluice did not write",
            f"sluice repair {facts.table}",
        )
    if index.purgeable:
        yield Sign(
            "note",
            f"{index.purgeable:,} tombstones are older than the horizon",
            f"sluice tombstones purge {facts.table}",
        )
    if index.refresh.startswith("-"):
        yield Sign(
            "red",
            f"{index.name} is never refreshed: searches do not see what is applied",
            f"set index.refresh_interval of {index.name}",
        )


def _judge_rebuild(facts: Facts) -> Iterator[Sign]:
    stand = facts.rebuild
    if stand is None or stand["phase"] == "none":
        return
    if stand["phase"] == "due":
        what = f"version {stand['declared']} is declared, {stand['old']} is older"
    elif stand["phase"] == "swapped":
        what = f"a rebuild: searches see {stand['new']}; {stand['old']} is kept for a rollback"
    else:
        what = f"a rebuild: {stand['new']}: {PHASES[stand['phase']]}"
    yield Sign("note", what, stand["next"] or "")


def _judge_gap(facts: Facts) -> Iterator[Sign]:
    table, index = facts.dynamodb, facts.index
    if table is None or index is None or not table.stream_on or table.label is None:
        return
    agreed = index.agreement
    if agreed is not None and agreed.label == table.label:
        return
    since = gap_since(table, index)
    if since is None:
        return
    yield Sign(
        "red",
        f"repair needed since {since}: the stream of {table.label} cannot know what was before it",
        f"sluice repair {facts.table}",
    )


def gap_since(table: TableFacts, index: IndexFacts) -> str | None:
    """Since when changes may be missing; None if the current stream has seen all there was."""
    before = {label: at for label, at in index.labels.items() if label != table.label}
    if before:
        return write_time(max(before.values()))
    if table.created is None or table.label is None:
        return None
    young = read_label(table.label) - table.created.timestamp()
    return None if young <= BORN_WITH_STREAM_S else write_time(int(table.created.timestamp() * 1e3))


def read_label(label: str) -> float:
    """A stream's label as seconds since the epoch: it is its time of creation, UTC."""
    try:
        moment = datetime.fromisoformat(label)
    except ValueError:
        return 0.0
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _before(now_ms: int, seconds: float) -> str:
    return write_time(now_ms - round(1_000 * seconds))
