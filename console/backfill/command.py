"""`sluice backfill`: index what the table holds, while live changes go on."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from console.backfill.export import ExportSource, Manifest, find_gap, open_export
from console.backfill.run import Backfill, Summary
from console.backfill.source import ScanSource, Source
from console.checkpoint import Journal, Share, open_store, read_share
from console.deadletters.sweep import interruptible
from console.help import write_epilog
from console.progress import show_progress
from console.scan import Meter
from console.sending import Gate, wait_until_empty
from console.session import Session, TableFacts
from worker.clock import read_clock_ms
from worker.cluster import Cluster, path
from worker.errors import UnavailableError
from worker.mappings import META
from worker.schema import find_index
from worker.tables import Table

DRAIN_S = 3_600.0


def share_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--share K/N`, handed over as `share`."""
    return click.option(
        "--share",
        metavar="K/N",
        callback=_read_share,
        default="1/1",
        help="Take part K of N; the others run the same command with their own K.",
    )(command)


def _read_share(ctx: click.Context, param: click.Parameter, value: str) -> Share:
    try:
        return read_share(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} {error}", ctx, param) from error


@click.command(
    epilog=write_epilog(
        "sluice backfill posts",
        "sluice backfill posts --segments 16 --rcu 500 --checkpoint posts.checkpoint",
        codes="0 everything sent, 1 unavailable, 2 misuse",
        more="docs/backfill.md has more.",
    )
)
@click.argument("table")
@click.option(
    "--segments",
    type=click.IntRange(1, 1_000_000),
    default=8,
    show_default=True,
    help="Parts of the table that are read beside each other.",
)
@click.option(
    "--rcu", type=click.FloatRange(1), help="Most read units a second. Default: no limit."
)
@click.option(
    "--max-queue",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Wait while more messages than this are in the queue, so that live changes stay fresh.",
)
@click.option(
    "--checkpoint",
    metavar="PLACE",
    help="A file, or s3://bucket/checkpoints/NAME, to resume from.",
)
@share_option
@click.option("--from-export", metavar="S3", help="Read an export instead: s3://…/AWSDynamoDB/ID.")
@click.option("--wait", is_flag=True, help="Wait for the workers, then tell what was applied.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    table: str,
    *,
    segments: int,
    rcu: float | None,
    max_queue: int,
    checkpoint: str | None,
    share: Share,
    from_export: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Send everything TABLE holds through the queue, as reads of the table.

    It may run at any time, beside live changes and more than once: a read never undoes a newer
    change. It removes nothing: what is left over in the index is found by `sluice verify`.
    """
    session = Session(os.environ)
    declared = session.table(table)
    facts = session.describe(declared)
    with interruptible() as stop:
        session.stop = stop
        meter = Meter(rcu, readers=min(segments, 32))
        source: Source
        if from_export:
            source = open_export(session.s3, from_export, facts, session.persist())
            _warn_of_age(declared.name, source.manifest, facts, session)
        else:
            reader = session.reader(declared, facts, meter)
            source = ScanSource(reader, facts.arn, facts.id, segments, facts.items)
        store = None
        if checkpoint:
            store = open_store(checkpoint, share, lambda: session.s3, session.persist)
        job = {
            "command": "backfill",
            "table": declared.name,
            "queue": session.producer.queue,
            "share": f"{share.number}/{share.of}",
            **source.job,
        }
        gate = Gate(session.depth, max_queue, stop)
        outlet = session.outlet
        session.depth()  # a queue that is not there is told before anything is read
        journal = Journal(job, store, read_clock_ms)
        with show_progress(f"backfill {declared.name}", source.total // share.of) as advance:
            summary = Backfill(
                declared.name,
                source,
                outlet,
                gate,
                journal,
                share,
                stop,
                read_clock_ms,
                advance,
            ).run(lambda: (meter.units, meter.throttled))
        applied = _await(session, declared, summary, source, share) if wait else None
        # Not before: a kill while waiting goes on waiting, and sends nothing again.
        close_journal(journal)
    _print(summary, applied, _say_uncounted(share, wait=wait), as_json)
    return 1 if summary.unsendable else 0


def close_journal(journal: Journal) -> None:
    """Remove the checkpoint of a job that is done; a warning if it cannot be."""
    kept = journal.close()
    if kept is not None:
        click.echo(
            f"sluice: {kept}. Everything is done; remove it yourself before the next time, which"
            " would find nothing left to do",
            err=True,
        )


def _warn_of_age(table: str, manifest: Manifest, facts: TableFacts, session: Session) -> None:
    gap = find_gap(manifest, facts.label if facts.stream_on else None)
    if gap:
        click.echo(
            f"sluice: {gap}: what was changed or deleted after the export and before a stream was"
            " on will be indexed as the export holds it; then run"
            f" `sluice verify {table}` and mend what it finds",
            err=True,
        )
    horizon_ms = session.settings.horizon_days * 86_400_000
    if manifest.read_ms < read_clock_ms() - horizon_ms:
        click.echo(
            "sluice: the export is older than SLUICE_HORIZON_DAYS: the workers will read every"
            " item from the table instead, at the table's cost",
            err=True,
        )


def _await(
    session: Session, table: Table[Any], summary: Summary, source: Source, share: Share
) -> dict[str, int] | None:
    """Once the queue is empty: how many documents are as this backfill read them.

    None for a share: a document does not say which host has read it.
    """
    if not wait_until_empty(session.depth, session.stop, patience_s=DRAIN_S):
        raise UnavailableError(
            "everything is sent, but the queue did not become empty within an hour",
            hint="with its --checkpoint the same command waits on; `sluice verify` proves",
        )
    if share.of > 1:
        return None
    moments = (summary.began_ms, summary.ended_ms)
    if isinstance(source, ExportSource):
        moments = (source.manifest.read_ms, source.manifest.read_ms)
    applied = count_reads(session.cluster, table, *moments)
    return {"applied": applied, "obsolete": summary.sent - applied}


def count_reads(cluster: Cluster, table: Table[Any], first_ms: int, last_ms: int) -> int:
    """Documents whose content a read between two moments gave. Raises UnavailableError."""
    index = find_index(cluster, table)
    if index is None:
        raise UnavailableError(f"the table {table.name} has no index")
    cluster.request("POST", path(index, "_refresh"))
    query = {"range": {f"{META}.read": {"gte": first_ms, "lte": last_ms}}}
    answer = cluster.request("POST", path(index, "_count"), body={"query": query})
    if answer.status != 200:
        raise UnavailableError(f"cannot count documents: {answer.error} {answer.reason:.300}")
    return int(answer.body["count"])


def _say_uncounted(share: Share, *, wait: bool) -> str:
    """Why the summary tells nothing of what was applied, if it does not."""
    if wait and share.of > 1:
        return (
            "What was applied of one share cannot be counted: a document does not say which host"
            " has read it. `sluice verify` proves, once every share is done."
        )
    return "What was applied, the workers know: `--wait` tells it, `sluice verify` proves."


def _print(summary: Summary, applied: dict[str, int] | None, uncounted: str, as_json: bool) -> None:
    if as_json:
        nothing = {"applied": None, "obsolete": None}
        click.echo(json.dumps({**asdict(summary), **(applied or nothing)}))
        return
    rate = summary.read_here / max(summary.seconds, 0.001)
    click.echo(
        f"{summary.table}: read {summary.read:,} items, sent {summary.sent:,}"
        f" in {summary.messages:,} messages and {summary.objects:,} objects;"
        f" {summary.bytes / 1e6:,.1f} MB, {summary.seconds:,.1f} s, {rate:,.0f} items/s,"
        f" {summary.units:,.0f} read units."
    )
    if summary.resumed:
        click.echo(
            f"This run read {summary.read_here:,} of them; the others were sent before it, as the"
            " checkpoint says."
        )
    if summary.unsendable:
        click.echo(f"{summary.unsendable:,} items can travel in no message.")
    if summary.throttled:
        click.echo(f"The table throttled {summary.throttled:,} calls; they were repeated.")
    if summary.yielded_s >= 1:
        click.echo(f"Waited {summary.yielded_s:,.0f} s for the queue to become shallow.")
    if applied is None:
        click.echo(uncounted)
    else:
        click.echo(
            f"{applied['applied']:,} documents are as they were read; {applied['obsolete']:,} were"
            " newer, have changed since, or were refused (`sluice dead-letters groups`)."
        )
