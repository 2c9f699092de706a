"""What status asks: the table, its stream's trigger, the queues, the workers, the index. Edges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from console.deadletters.filters import group_letters
from console.deadletters.lambdafailures import Failures, UnusableError
from console.deadletters.peek import peek
from console.deadletters.queue import open_pair
from console.deadletters.settings import BATCH_BYTES, read_on_failure
from console.rebuild.stand import describe, read_stand
from console.sending import read_depth
from console.session import Session, TableFacts
from console.status.asking import CLUSTER, Asker
from console.status.facts import (
    DeadLetters,
    Facts,
    GivenUp,
    IndexFacts,
    Pipeline,
    Trigger,
    Unknown,
)
from console.status.judge import CLOSE, STREAM_S, is_bucket
from console.status.metrics import (
    Figure,
    Point,
    delivery_failures,
    function_name,
    iterator_age,
    oldest_message,
    read_figures,
    read_past,
    utc_now,
)
from console.status.past import failed_since_ms, late_since_ms, past_since
from console.tombstones import count_tombstones, cutoff_ms
from console.verify.agreement import read_agreement
from producer.contract import queue_name
from worker.cluster import Cluster, path
from worker.errors import MovedError, UnavailableError
from worker.mappings import META
from worker.schema import find_served
from worker.schema import read_index as read_living
from worker.state import read_states
from worker.tables import Table

_LABELS: Final = 20
_OBJECTS: Final = 1_000
"""Objects of Lambda's that are counted, at the most."""
_LAMBDAS: Final = "aws/lambda/"
"""Before the id of the mapping, of each object (AWS Lambda Developer Guide, "Retain discarded
records for a DynamoDB event source in Lambda")."""
_OBJECTS_READ: Final = 5
"""Objects of Lambda's that are read: each may have 6 MB."""


@dataclass
class Look:
    """One look at everything. Asks each service once that is away."""

    session: Session
    now_ms: int
    before: Pipeline | None = None
    """The look before: what it saw of the dead letters stands while their number is the same."""
    peek: bool = True
    asker: Asker = field(default_factory=Asker)
    retention_s: int | None = None
    """Of the queue, once the pipeline was asked."""

    def pipeline(self) -> Pipeline:
        """What all tables share. Raises ConfigurationError for settings alone."""
        settings, sqs = self.session.settings, "sqs"
        unknown: dict[str, Unknown] = {}
        ask, queue = self.asker.ask, queue_name(settings.queue_url)
        facts = Pipeline(
            queue=queue,
            now_ms=self.now_ms,
            depth=ask(unknown, "queue", sqs, self.session.depth),
            retention_s=ask(unknown, "retention", sqs, lambda: self._retention(settings.queue_url)),
            dead=ask(
                unknown,
                "dead letters",
                sqs,
                lambda: read_depth(self.session.sqs, settings.dead_letter_url),
            ),
            dead_retention_s=ask(
                unknown, "retention", sqs, lambda: self._retention(settings.dead_letter_url)
            ),
            workers=ask(
                unknown,
                "workers",
                CLUSTER,
                lambda: tuple(read_states(self.session.cluster, queue)),
            ),
            given_up=self._given_up(unknown),
            unknown=unknown,
        )
        self.retention_s = facts.retention_s
        oldest = oldest_message(queue)
        figures = self._figures(unknown, [oldest])
        letters = self._letters(unknown, facts) if self.peek else None
        return replace(facts, oldest_s=figures.get(oldest), letters=letters)

    def table(self, table: Table[Any]) -> Facts:
        """What is the table's own."""
        unknown: dict[str, Unknown] = {}
        ask, session = self.asker.ask, self.session
        described = ask(unknown, "table", "dynamodb", lambda: session.describe(table))
        purge_ms = cutoff_ms(self.now_ms, session.settings.horizon_days)
        index = ask(unknown, "index", CLUSTER, lambda: read_index(session.cluster, table, purge_ms))
        since = past_since(index.agreement if index else None, self.now_ms)
        triggers = self._triggers(unknown, described, since)
        return Facts(
            table=table.name,
            now_ms=self.now_ms,
            dynamodb=described,
            triggers=triggers,
            given_up=self._put_away(unknown, triggers) if described else (),
            waited_since_ms=self._waited(unknown, since),
            index=index,
            rebuild=ask(
                unknown, "rebuild", CLUSTER, lambda: describe(read_stand(session.cluster, table))
            ),
            unknown=unknown,
        )

    def _triggers(
        self, unknown: dict[str, Unknown], described: TableFacts | None, since: datetime
    ) -> tuple[Trigger, ...] | None:
        arn = described.stream_arn if described else None
        if arn is None:
            return None
        found = self.asker.ask(unknown, "trigger", "lambda", lambda: self._list_mappings(arn))
        if not found:
            return found
        names = [function_name(one.function) for one in found]
        ages = self._figures(unknown, [iterator_age(name) for name in names])
        wanted = [figure for n in names for figure in (iterator_age(n), delivery_failures(n))]
        past = self._past(unknown, wanted, since)
        return tuple(
            _add_figures(one, ages.get(iterator_age(name)), past, name)
            for one, name in zip(found, names, strict=True)
        )

    def _waited(self, unknown: dict[str, Unknown], since: datetime) -> int | None:
        if self.retention_s is None:
            return None
        oldest = oldest_message(queue_name(self.session.settings.queue_url))
        points = self._past(unknown, [oldest], since).get(oldest, ())
        return late_since_ms(points, CLOSE * 1_000 * self.retention_s, unit_ms=1_000)

    def _past(
        self, unknown: dict[str, Unknown], wanted: list[Figure], since: datetime
    ) -> dict[Figure, list[Point]]:
        def question() -> dict[Figure, list[Point]]:
            client = self.session.connect("cloudwatch")
            return read_past(client, wanted, since, utc_now(self.now_ms))

        return self.asker.ask(unknown, "CloudWatch", "cloudwatch", question) or {}

    def _put_away(
        self, unknown: dict[str, Unknown], triggers: tuple[Trigger, ...] | None
    ) -> tuple[GivenUp, ...]:
        """What the triggers gave up on, where the settings do not say where it lies."""
        named, _ = read_on_failure(self.session.environment)
        if triggers is None and "trigger" in unknown and not named:
            unknown["lambda failures"] = Unknown(
                "neither the trigger nor SLUICE_ON_FAILURE_BUCKET says where they are"
            )
        found = []
        for trigger in triggers or ():
            bucket = bucket_name(trigger.on_failure)
            if bucket and bucket != named:
                there = self._look_into(unknown, bucket, f"{_LAMBDAS}{trigger.uuid}/")
                found += [there] if there is not None else []
        return tuple(found)

    def _look_into(self, unknown: dict[str, Unknown], bucket: str, prefix: str) -> GivenUp | None:
        def question() -> GivenUp:
            return read_given_up(Failures(self.session.s3, bucket, prefix))

        return self.asker.ask(unknown, "lambda failures", "s3", question)

    def _list_mappings(self, arn: str) -> tuple[Trigger, ...]:
        answer = self.session.connect("lambda").list_event_source_mappings(EventSourceArn=arn)
        return tuple(map(read_trigger, answer["EventSourceMappings"]))

    def _figures(self, unknown: dict[str, Unknown], wanted: list[Figure]) -> dict[Figure, float]:
        def question() -> dict[Figure, float]:
            client = self.session.connect("cloudwatch")
            return read_figures(client, wanted, utc_now(self.now_ms))

        return self.asker.ask(unknown, "CloudWatch", "cloudwatch", question) or {}

    def _retention(self, url: str) -> int | None:
        answer = self.session.sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["MessageRetentionPeriod"]
        )
        seconds = answer.get("Attributes", {}).get("MessageRetentionPeriod")
        return None if seconds is None else int(seconds)

    def _letters(self, unknown: dict[str, Unknown], facts: Pipeline) -> DeadLetters | None:
        if facts.dead is None or not facts.dead.total:
            return None
        if self.before is not None and self.before.dead == facts.dead and self.before.letters:
            return self.before.letters
        return self.asker.ask(unknown, "reasons", "sqs", self._peek)

    def _peek(self) -> DeadLetters:
        s = self.session.settings
        pair = open_pair(self.session.sqs, s.queue_url, s.dead_letter_url, BATCH_BYTES)
        seen = peek(pair, stop=self.session.stop)
        return DeadLetters(
            groups=tuple(group_letters(seen.letters)),
            looked_at=seen.seen,
            complete=seen.complete,
            oldest_sent_ms=min((received.sent_ms for received, _ in seen.found), default=None),
        )

    def _given_up(self, unknown: dict[str, Unknown]) -> GivenUp | None:
        bucket, prefix = read_on_failure(self.session.environment)
        return self._look_into(unknown, bucket, prefix) if bucket else None


def read_given_up(failures: Failures) -> GivenUp:
    """What Lambda gave up on and nobody has forwarded. Raises UnavailableError."""
    keys = list(islice(failures.keys(), _OBJECTS + 1))
    read = []
    for key in keys[:_OBJECTS_READ]:
        try:
            failure = failures.read(key)
        except UnusableError:
            continue  # it counts all the same; `dead-letters lambda list` says what is wrong
        if failure is not None:
            read.append(failure)
    return GivenUp(
        bucket=failures.bucket,
        count=min(len(keys), _OBJECTS),
        complete=len(keys) <= _OBJECTS,
        since=min((failure.at for failure in read if failure.at), default=""),
        tables=tuple(sorted({failure.table for failure in read if failure.table})),
    )


def read_trigger(mapping: Mapping[str, Any]) -> Trigger:
    """An event source mapping as Lambda describes it."""
    destination = (mapping.get("DestinationConfig") or {}).get("OnFailure") or {}
    return Trigger(
        mapping["UUID"],
        mapping.get("FunctionArn", ""),
        mapping.get("State", ""),
        mapping.get("LastProcessingResult", ""),
        reports="ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or ()),
        on_failure=destination.get("Destination", ""),
        retries=int(mapping.get("MaximumRetryAttempts", -1)),
        record_age_s=int(mapping.get("MaximumRecordAgeInSeconds", -1)),
    )


def bucket_name(arn: str) -> str:
    """The bucket of an on-failure destination in S3; empty for any other."""
    return arn.rpartition(":")[2].partition("/")[0] if is_bucket(arn) else ""


def _add_figures(
    trigger: Trigger, age_ms: float | None, past: Mapping[Figure, list[Point]], name: str
) -> Trigger:
    failures = past.get(delivery_failures(name), [])
    return replace(
        trigger,
        age_ms=_whole(age_ms),
        late_since_ms=late_since_ms(past.get(iterator_age(name), ()), CLOSE * 1_000 * STREAM_S),
        undelivered=round(sum(point.value for point in failures)),
        undelivered_since_ms=failed_since_ms(failures),
    )


def read_index(cluster: Cluster, table: Table[Any], purge_ms: int) -> IndexFacts:
    """What the table's index holds. Raises UnavailableError, ConfigurationError."""
    served = find_served(cluster, table)
    if served is None:
        # The cluster is there: only this index is not.
        raise MovedError(
            f"there is no index behind {table.write_alias}",
            hint=f"a worker makes it, empty, as it starts; then: sluice backfill {table.name}",
        )
    name = served.index
    body = {
        "size": 0,
        "track_total_hits": True,
        "aggs": {
            "states": {"terms": {"field": f"{META}.state", "size": 10}},
            "newest": {"max": {"field": f"{META}.time"}},
            "labels": {
                "terms": {"field": f"{META}.label", "size": _LABELS, "order": {"_key": "desc"}},
                "aggs": {"newest": {"max": {"field": f"{META}.time"}}},
            },
        },
    }
    answer = cluster.request("POST", path(name, "_search"), body=body)
    if answer.status != 200:
        raise UnavailableError(f"cannot read {name}: {answer.error} {answer.reason:.300}")
    living = read_living(cluster, name)
    found = answer.body["aggregations"]
    states = {b["key"]: int(b["doc_count"]) for b in found["states"]["buckets"]}
    ours = {state: states.get(state, 0) for state in ("live", "hidden", "deleted")}
    return IndexFacts(
        name=name,
        live=ours["live"],
        hidden=ours["hidden"],
        tombstones=ours["deleted"],
        purgeable=count_tombstones(cluster, name, purge_ms),
        foreign=int(answer.body["hits"]["total"]["value"]) - sum(ours.values()),
        newest_ms=_moment(found["newest"]),
        labels={
            b["key"]: moment
            for b in found["labels"]["buckets"]
            if (moment := _moment(b["newest"])) is not None
        },
        agreement=read_agreement(living["mappings"]),
        version=served.version,
        refresh=str(living["settings"].get("index", {}).get("refresh_interval", "1s")),
    )


def _moment(newest: Mapping[str, Any]) -> int | None:
    value = newest.get("value")
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
