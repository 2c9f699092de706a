"""`sluice check`: what would be refused, hidden, or too large, before it is deployed."""

import json
import os
import random
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from console.check.engine import Engine, open_engine, try_index
from console.check.items import read_items, sample_items
from console.check.judge import Finding, judge_handlers, judge_index, judge_routing, judge_table
from console.check.modules import find_tables
from console.check.report import Report, describe, write_lines
from console.check.trial import Trial, group_refusals, try_items
from console.check.weigh import QUEUE as QUEUE_NAME
from console.check.weigh import Messages, measure, weigh_messages
from console.deadletters.sweep import interruptible
from console.errors import MisuseError
from console.help import write_epilog
from console.local.up import read_key
from console.scan import Meter
from console.session import Session, TableFacts, read_facts
from console.settings import read_part
from producer.chunks import fit_limits
from producer.contract import Item
from producer.errors import ConfigurationError as ProducerConfigurationError
from producer.settings import Settings as ProducerSettings
from worker.errors import ConfigurationError
from worker.tables import Table


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a check."""

    target: str
    items: int | None = None
    file: Path | None = None
    embedded: bool = False
    offline: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What DynamoDB says of a table, or why nothing is known."""

    facts: TableFacts | None
    findings: tuple[Finding, ...] = ()
    unchecked: str = ""


@click.command(
    epilog=write_epilog(
        "sluice check posts --items 500",
        "sluice check shop.tables --embedded --offline",
        "sluice check posts --file items.json --key id --json",
        codes="0 nothing is wrong, 1 something is, 2 misuse",
        more="docs/check.md has more.",
    )
)
@click.argument("target", metavar="TABLE|MODULE")
@click.option(
    "--items", type=click.IntRange(1, 100_000), help="Try about so many items of the table."
)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Try the items of a file: JSON or JSON lines, typed as DynamoDB writes it or plain.",
)
@click.option("--key", help="Key of the table where it cannot be asked: NAME, or NAME,NAME.")
@click.option("--embedded", is_flag=True, help="Use the embedded engine, whatever is set.")
@click.option("--offline", is_flag=True, help="Do not ask AWS about the table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool, **asked: Any) -> int:
    """Check a declaration before it is deployed: of TABLE, or of every table of MODULE.

    An index is made as the table declares it, real items are indexed into it, and it is deleted
    again. It is made on the cluster of SLUICE_ELASTICSEARCH_URL, or on the embedded engine where
    none is set. Nothing else is written.
    """
    request = Asked(**asked)
    tables = find_tables(request.target, os.environ.get("SLUICE_TABLES", ""))
    _check_request(request, tables)
    with interruptible() as stop:
        session = Session(os.environ, stop=stop)
        with ExitStack() as stack:
            engine = stack.enter_context(open_engine(os.environ, embedded=request.embedded))
            reports = [check_table(session, engine, table, request) for table in tables]
    if as_json:
        described = {"fine": all(r.fine for r in reports), "tables": [*map(describe, reports)]}
        click.echo(json.dumps(described, ensure_ascii=False))
    else:
        for report in reports:
            for line in write_lines(report):
                click.echo(_clean(line))
    return 0 if all(report.fine for report in reports) else 1


def check_table(session: Session, engine: Engine, table: Table[Any], asked: Asked) -> Report:
    """Check one table. Raises MisuseError, UnavailableError, InterruptedByUserError."""
    look = Look(None, unchecked="--offline") if asked.offline else look_at(session, table)
    keys = _choose_keys(table, asked, look)
    items, source = _read_items(session, table, asked, look)
    trial = try_items(table, items, keys)
    tried = try_index(engine, table, trial.writes, session.stop)
    limits = read_part(session.environment, {"SLUICE_TASK_LIMIT_S"})
    findings = [*look.findings, *judge_handlers(table, limits.soft_limit_s)]
    if look.facts is None:
        findings += judge_routing(table, keys)
    if not engine.embedded:
        findings += judge_index(engine.cluster, table)
    return Report(
        table=table.name,
        engine=engine.name,
        embedded=engine.embedded,
        source=source,
        items=len(items),
        tried=tried,
        groups=tuple(group_refusals([*trial.refusals, *tried.refusals])),
        hidden=tuple(trial.hidden),
        repeated=trial.repeated,
        hashed=trial.hashed,
        documents=measure(trial.sizes),
        messages=_weigh(session, table, trial),
        findings=tuple(findings),
        lossy=trial.lossy,
        lost=tuple(sorted(trial.lost)),
        unchecked=look.unchecked,
    )


def look_at(session: Session, table: Table[Any]) -> Look:
    """Ask DynamoDB about the table, if that is possible from here."""
    try:
        facts = read_facts(session.dynamodb.describe_table(TableName=table.name))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ResourceNotFoundException":
            region = session.dynamodb.meta.region_name
            what = f"there is no table {table.name} in {region}"
            return Look(None, (Finding("wrong", what, "check the name, the account, AWS_REGION"),))
        return Look(None, unchecked=f"AWS answers {code}")
    except (BotoCoreError, MisuseError) as error:
        return Look(None, unchecked=" ".join(str(error).split()))
    return Look(facts, tuple(judge_table(table, facts)))


def _check_request(asked: Asked, tables: list[Table[Any]]) -> None:
    if asked.items is not None and asked.file is not None:
        raise MisuseError("--items and --file exclude each other")
    if asked.items is not None and asked.offline:
        raise MisuseError("--items asks the table, and --offline forbids it")
    if (asked.file is not None or asked.key is not None) and len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise MisuseError(
            f"--file and --key are for one table, and {asked.target} declares {names}",
            hint="set SLUICE_TABLES and name the table",
        )


def _choose_keys(table: Table[Any], asked: Asked, look: Look) -> tuple[str, ...]:
    given = tuple(part.name for part in read_key(asked.key)) if asked.key else ()
    if look.facts is None:
        return given
    if given and set(given) != set(look.facts.keys):
        raise MisuseError(f"the key of {table.name} is {', '.join(look.facts.keys)}, not --key")
    return look.facts.keys


def _read_items(
    session: Session, table: Table[Any], asked: Asked, look: Look
) -> tuple[list[Item], str]:
    if asked.file is not None:
        return read_items(asked.file), asked.file.name
    if asked.items is None:
        return [], ""
    if look.facts is None:
        why = look.unchecked or "there is none"
        raise MisuseError(
            f"no items of {table.name} can be read: {why}", hint="--file takes them from a file"
        )
    reader = session.reader(table, look.facts, Meter(None), timed=False)
    return sample_items(reader, look.facts.items, asked.items, random.Random()), "the table"


def _weigh(session: Session, table: Table[Any], trial: Trial) -> Messages | None:
    settings = _read_producer(session.environment)
    limits = fit_limits(QUEUE_NAME, settings.message_bytes, settings.chunk_bytes)
    return weigh_messages(table.name, trial.keyed, limits, old_images=settings.old_images)


def _read_producer(environment: Mapping[str, str]) -> ProducerSettings:
    """Its limits; where it sends to is of no matter here."""
    needed = ("MESSAGE_BYTES", "BATCH_BYTES", "CHUNK_BYTES", "OLD_IMAGES")
    names = [f"SLUICE_{name}" for name in needed]
    unused = {
        "SLUICE_QUEUE_URL": f"http://unused.invalid/{QUEUE_NAME}",
        "SLUICE_DEAD_LETTER_URL": "http://unused.invalid/dead",
        "SLUICE_OVERFLOW_BUCKET": "unused",
    }
    part = {name: environment[name] for name in names if name in environment}
    try:
        return ProducerSettings.read({**part, **unused})
    except ProducerConfigurationError as error:
        raise ConfigurationError(f"settings: {error}") from error


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
