"""`sluice dead-letters lambda`: what Lambda itself gave up on."""

from collections.abc import Iterator
from typing import Any

import click

from console.deadletters.display import print_failures, print_json, progress
from console.deadletters.lambdafailures import Failure, Failures, UnusableError, forward
from console.deadletters.options import json_option
from console.deadletters.session import Session, now, open_session
from console.deadletters.sweep import interruptible
from console.help import write_epilog
from producer.settings import Settings as ProducerSettings
from worker.errors import ConfigurationError, UnavailableError

INTERRUPTED = 130
_CODES = "0 fine, 1 some cannot be used and stay, 2 misuse"

_table_option = click.option(
    "--table", "tables", multiple=True, metavar="NAME", help="Of this table."
)


@click.group(
    "lambda",
    epilog=write_epilog(
        "sluice dead-letters lambda list", "sluice dead-letters lambda forward", codes=_CODES
    ),
)
def lambda_group() -> None:
    """Batches that Lambda itself gave up on.

    They lie in the event source mapping's on-failure destination, the bucket named by
    SLUICE_ON_FAILURE_BUCKET, their names starting with SLUICE_ON_FAILURE_PREFIX.
    """


@lambda_group.command(
    "list", epilog=write_epilog("sluice dead-letters lambda list --table posts", codes=_CODES)
)
@_table_option
@json_option
def list_failures(tables: tuple[str, ...], as_json: bool) -> int:
    """List them; no documents."""
    found = list(_read_all(_failures(open_session()), tables))
    failures = [failure for _, failure in found if isinstance(failure, Failure)]
    unusable = [(key, why) for key, why in found if isinstance(why, str)]
    if as_json:
        print_json(
            {
                "failures": [_describe(failure) for failure in failures],
                "unusable": [{"object": key, "why": why} for key, why in unusable],
            }
        )
        return 1 if unusable else 0
    print_failures(failures)
    click.echo(f"{len(failures):,} batches, {sum(f.records for f in failures):,} records.")
    for key, why in unusable:
        click.echo(f"sluice: {key}: {why}", err=True)
    return 1 if unusable else 0


@lambda_group.command(
    "forward",
    epilog=write_epilog(
        "sluice dead-letters lambda forward --dry-run",
        "sluice dead-letters lambda forward --keep --json",
        codes=_CODES,
    ),
)
@_table_option
@click.option("--dry-run", is_flag=True, help="Say what would be forwarded; send nothing.")
@click.option("--limit", type=click.IntRange(1), help="Most batches to forward.")
@click.option("--keep", is_flag=True, help="Move the objects to forwarded/ and do not delete them.")
@json_option
def forward_failures(
    tables: tuple[str, ...], dry_run: bool, limit: int | None, keep: bool, as_json: bool
) -> int:
    """Send their records to the queue, as the producer would.

    An object is deleted only once all of its records are sent. To interrupt or repeat does no harm.
    """
    session = open_session()
    settings = _producer_settings(session)
    failures = _failures(session)
    _ = session.pair  # refuses to act on queues that are no pair
    batches = records = 0
    stayed: list[tuple[str, str]] = []
    with interruptible() as stop, progress("forwarding", 0) as advance:
        for key, failure in _read_all(failures, tables):
            if stop.is_set() or batches == limit:
                break
            advance(1)
            if isinstance(failure, str):
                stayed.append((key, failure))
                continue
            try:
                if not dry_run:
                    forward(failure, settings, session.send, now())
                    failures.finish(key, keep=keep)
            except (UnusableError, UnavailableError) as error:
                stayed.append((key, str(error)))
                continue
            batches, records = batches + 1, records + failure.records
    _print_forwarded(batches, records, stayed, dry_run=dry_run, as_json=as_json)
    if stop.is_set():
        return INTERRUPTED
    return 1 if stayed else 0


def _print_forwarded(
    batches: int, records: int, stayed: list[tuple[str, str]], *, dry_run: bool, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "batches": batches,
                "records": records,
                "stayed": [{"object": key, "why": why} for key, why in stayed],
            }
        )
        return
    verb = "would be forwarded" if dry_run else "forwarded"
    click.echo(f"{batches:,} batches, {records:,} records {verb}.")
    for key, why in stayed:
        click.echo(f"sluice: {key} stays: {why}", err=True)


def _read_all(failures: Failures, tables: tuple[str, ...]) -> Iterator[tuple[str, Failure | str]]:
    """Each object with what it holds, or why nothing can be done with it, whatever its table."""
    for key in list(failures.keys()):
        try:
            failure = failures.read(key)
        except UnusableError as error:
            if not tables:
                yield key, str(error)
            continue
        if failure is not None and (not tables or failure.table in tables):
            yield key, failure


def _describe(failure: Failure) -> dict[str, Any]:
    return {
        "object": failure.key,
        "at": failure.at,
        "condition": failure.condition,
        "table": failure.table,
        "shard": failure.shard,
        "first": failure.first,
        "last": failure.last,
        "records": failure.records,
    }


def _failures(session: Session) -> Failures:
    settings = session.settings
    if not settings.on_failure_bucket:
        raise ConfigurationError(
            "SLUICE_ON_FAILURE_BUCKET is not set",
            hint="name the bucket of the event source mapping's on-failure destination",
        )
    return Failures(session.s3, settings.on_failure_bucket, settings.on_failure_prefix)


def _producer_settings(session: Session) -> ProducerSettings:
    settings = session.settings
    if settings.producer is None:
        raise ConfigurationError(f"the producer's settings: {settings.producer_problem}")
    return settings.producer
