"""`sluice rebuild`: a new mapping or document function, without a minute of downtime."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import click

from console.backfill.command import share_option
from console.checkpoint import Journal, Share
from console.deadletters.sweep import interruptible
from console.help import write_epilog
from console.progress import show_progress
from console.rebuild import steps
from console.rebuild.barrier import pass_barrier
from console.rebuild.check import SAVE_EVERY_S, Check, Difference, MappingStore
from console.rebuild.copy import PARTS, Copier, count, find_parts
from console.rebuild.stand import (
    PHASES,
    Progress,
    Stand,
    describe,
    read_stand,
    tell_progress,
    write_progress,
)
from console.rebuild.writing import Writer
from console.scan import Meter, TableReader
from console.session import Session
from console.verify.agreement import Agreement, note_agreement
from console.verify.comparer import Comparer
from producer.contract import Change
from worker.carry import Carrier
from worker.clock import read_clock_ms
from worker.errors import RefusedError
from worker.index import Index
from worker.tables import Table


@dataclass
class Rebuild:
    """One table's rebuild, with what it needs."""

    session: Session
    table: Table[Any]
    rcu: float | None
    concurrency: int
    page: int
    segments: int = PARTS
    share: Share = Share()  # noqa: RUF009 - frozen
    differences: int = 0
    first: list[Difference] = field(default_factory=list)
    """The first few of them."""

    @cached_property
    def reader(self) -> TableReader:
        """The table's reader; the steps that only move aliases go without."""
        meter = Meter(self.rcu, readers=2 * self.concurrency)
        facts = self.session.describe(self.table)
        self.session.check_clock()
        return self.session.reader(self.table, facts, meter)

    def stand(self) -> Stand:
        """Where it stands now."""
        return read_stand(self.session.cluster, self.table)

    def start(self) -> Stand:
        """Both indexes written by everybody, and proven to be."""
        stand = steps.join(self.session.cluster, self.stand(), read_clock_ms())
        old, new = stand.pair
        if stand.progress.phase in ("created", "joining"):
            progress = pass_barrier(
                self.session.cluster, old.index, new.index, stand.progress, read_clock_ms()
            )
            parts = find_parts(self.session.cluster, old.index, self.segments)
            self._keep(stand, replace(progress, phase="copying", parts=parts))
        return self.stand()

    def run(self) -> Stand:
        """Copy and verify, from wherever that stands; a share is verified once all are copied."""
        stand = self.stand()
        stand.pair  # noqa: B018 - says so if no rebuild is under way
        if stand.progress.phase in ("created", "joining"):
            stand = self.start()
        if stand.progress.phase == "copying":
            self._copy(stand)
            stand = self.stand()
        return stand if stand.progress.phase == "copying" else self._verify(stand)

    def _copy(self, stand: Stand) -> None:
        old, new = stand.pair
        cluster = self.session.cluster
        left = max(0, count(cluster, old.index) - stand.progress.copied)
        with show_progress(f"copy {old.index} to {new.index}", left) as advance:
            Copier(
                cluster,
                old.index,
                new.index,
                self._writer(stand),
                self.concurrency,
                read_clock_ms,
                self.session.stop,
                advance,
                self.page,
                self.share,
                self.session.persistence,
            ).run(stand.progress)

    def _verify(self, stand: Stand) -> Stand:
        _, new = stand.pair
        cluster = self.session.cluster
        facts = self.session.describe(self.table)
        job = {
            "command": "rebuild",
            "source": facts.arn,
            "id": facts.id,
            "label": facts.label,
            "index": new.index,
            "began": stand.progress.began,
        }
        store = MappingStore(
            cluster, new.index, job, stand.progress.began, self.session.persistence
        )
        journal = Journal(job, store, read_clock_ms, every_s=SAVE_EVERY_S)
        with show_progress(f"verify {new.index}", 2 * facts.items) as advance:
            check = Check(
                Comparer(stand.declared(new), self.reader, cluster, new.index),
                self._writer(stand),
                Index(cluster),
                journal,
                self.session.stop,
                2 * self.concurrency,
                advance,
            )
            self.differences = check.run()
        self.first = check.first
        if not self.differences:
            note_agreement(cluster, new.index, Agreement(facts.label, journal.began_ms))
        phase: Any = "copied" if self.differences else "verified"
        # Whoever runs it again has changed something meanwhile: then everything is compared.
        self._keep(stand, replace(stand.progress, phase=phase, check=""))
        return self.stand()

    def _writer(self, stand: Stand) -> Writer:
        _, new = stand.pair
        declared = stand.declared(new)
        margin_ms = self.session.settings.clock_margin_s * 1000
        index = Index(self.session.cluster)
        return Writer(
            declared,
            Carrier(declared, new, index, _NoOverflow(), margin_ms, read_clock_ms),
            self.reader,
            self.session.stop.wait,
        )

    def _keep(self, stand: Stand, progress: Progress) -> None:
        _, new = stand.pair

        def keep() -> None:
            changed = replace(progress, changed=read_clock_ms())
            write_progress(self.session.cluster, new.index, changed)

        self.session.persistence.ask(keep)


class _NoOverflow:
    """A read of the table brings its item along."""

    def fetch(self, change: Change) -> Change:
        raise RefusedError("OverflowMissing", f"a read of {change.key} names an object")


def _everything(rebuild: Rebuild, force: bool) -> Stand:
    rebuild.start()
    stand = rebuild.run()
    ended = stand.progress.phase != "copying" and (force or not rebuild.differences)
    return _swap(rebuild, force) if ended else stand


def _swap(rebuild: Rebuild, force: bool) -> Stand:
    return steps.swap(rebuild.session.cluster, rebuild.stand(), force=force)


ACTIONS: Final[Mapping[str, Callable[[Rebuild, bool], Stand]]] = {
    "all": _everything,
    "start": lambda rebuild, _: rebuild.start(),
    "run": lambda rebuild, _: rebuild.run(),
    "status": lambda rebuild, _: rebuild.stand(),
    "swap": _swap,
    "rollback": lambda rebuild, _: steps.roll_back(rebuild.session.cluster, rebuild.stand()),
    "finish": lambda rebuild, _: steps.finish(rebuild.session.cluster, rebuild.stand()),
    "abort": lambda rebuild, _: steps.abort(rebuild.session.cluster, rebuild.stand()),
}


@click.command(
    epilog=write_epilog(
        "sluice rebuild posts",
        "sluice rebuild posts status --json",
        "sluice rebuild posts finish",
        codes="0 done, 1 the new index does not agree, interrupted or unavailable, 2 misuse",
        more="docs/rebuild.md has more.",
    )
)
@click.argument("table")
@click.argument("action", type=click.Choice(list(ACTIONS)), default="all")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 32),
    default=2,
    show_default=True,
    help="Threads, each with one bulk in flight.",
)
@click.option(
    "--rcu", type=click.FloatRange(1), help="Most read units a second. Default: no limit."
)
@click.option("--page", type=click.IntRange(1, 5_000), default=500, show_default=True,
              help="Documents a page.")  # fmt: skip
@click.option(
    "--segments",
    type=click.IntRange(1, 256),
    default=PARTS,
    show_default=True,
    help="Parts of the old index that are copied beside each other; said at the start.",
)
@share_option
@click.option("--force", is_flag=True, help="Swap to an index that is not verified.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    table: str,
    action: str,
    *,
    concurrency: int,
    rcu: float | None,
    page: int,
    segments: int,
    share: Share,
    force: bool,
    as_json: bool,
) -> int:
    """Build the index of TABLE's newest declared version beside the one that is there.

    Without ACTION: start, run and swap. `finish` is yours to give: until then both indexes are kept
    in step, and `rollback` is one moment.

    \b
    start     make the new index; write to both; prove that everybody does
    run       copy, then verify; goes on where it was
    swap      let searches see the new index
    rollback  let them see the old one again
    finish    remove the old index; no way back
    abort     remove the new index
    status    where it stands
    """
    session = Session(os.environ)
    declared = session.table(table)
    with interruptible() as stop:
        session.stop = stop
        rebuild = Rebuild(session, declared, rcu, concurrency, page, segments, share)
        stand = ACTIONS[action](rebuild, force)
    _print(stand, rebuild, as_json)
    return 1 if rebuild.differences else 0


def _print(stand: Stand, rebuild: Rebuild, as_json: bool) -> None:
    facts = describe(stand)
    shown = [
        {"kind": one.finding.kind, "id": one.finding.place.id, "why": one.why}
        for one in rebuild.first
    ]
    if as_json:
        facts |= {"differences": rebuild.differences, "first": shown}
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    click.echo(f"{stand.table.name}: searches see {stand.served}.")
    if stand.new is not None:
        said = "searches see it" if stand.is_swapped else PHASES[stand.progress.phase]
        click.echo(f"{stand.new.index}: {said}; {tell_progress(facts)}.")
    for one in shown:
        click.echo(f"  {one['kind']}: {one['id']}  {one['why']}")
    if rebuild.differences > len(shown):
        click.echo(f"  and {rebuild.differences - len(shown):,} more")
    if facts["next"]:
        click.echo(f"Next: {facts['next']}")
