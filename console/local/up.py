"""`sluice up`: a local pipeline that stays, to write to from one's own code."""

import shlex
import time
from typing import TYPE_CHECKING, Final

import click

from console.errors import MisuseError
from console.help import write_epilog
from console.local.logs import log_folder
from console.local.signals import ended_by_signals

if TYPE_CHECKING:
    from console.local.pipeline import KeyAttribute, Pipeline

CHECK_S: Final = 1.0


@click.command(
    epilog=write_epilog(
        "sluice up",
        "sluice up --tables shop.tables --key number:N",
        codes="0 ended by you, 1 a part failed, 2 misuse",
        more="Ends with Ctrl-C.",
    )
)
@click.option(
    "--tables",
    envvar="SLUICE_TABLES",
    default="examples.posts.tables",
    show_default=True,
    help="Modules that declare the tables; default also from SLUICE_TABLES.",
)
@click.option(
    "--key",
    default="id",
    show_default=True,
    help="Key of the tables: NAME or NAME:TYPE, and after a comma the sort key. Types: S, N, B.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Worker processes to start.",
)
def command(tables: str, key: str, workers: int) -> int:
    """Keep a local pipeline running, to write to from your code.

    Prints its endpoints as an environment to paste. All data is in memory, and gone at the end.
    """
    from console.local.pipeline import Plan, run_pipeline

    parts = read_key(key)
    with log_folder("up") as logs, ended_by_signals():
        plan = Plan(directory=logs.path, modules=tables, key=parts, workers=workers)
        with run_pipeline(plan) as pipeline:
            click.echo(describe(pipeline))
            _stay(pipeline)
    return 0


def _stay(pipeline: "Pipeline") -> None:
    """Until Ctrl-C. Raises PipelineError when a part ends by itself."""
    try:
        while True:
            pipeline.check()
            time.sleep(CHECK_S)
    except KeyboardInterrupt:
        click.echo("\nStopping.", err=True)


def read_key(text: str) -> "tuple[KeyAttribute, ...]":
    """A key as the option writes it. Raises MisuseError."""
    from console.local.pipeline import KeyAttribute

    parts = [part.strip().partition(":") for part in text.split(",")]
    key = tuple(KeyAttribute(name, type_ or "S") for name, _, type_ in parts)
    if not 1 <= len(key) <= 2 or not all(k.name and k.type in ("S", "N", "B") for k in key):
        raise MisuseError(f"--key {text!r:.80} is no key", hint="for example: --key author:S,at:N")
    return key


def describe(pipeline: "Pipeline") -> str:
    """Endpoints, an environment to paste, and three lines that write to the table."""
    name = next(iter(pipeline.tables))
    exports = "\n".join(
        f"export {variable}={shlex.quote(value)}"
        for variable, value in sorted(pipeline.settings.items())
    )
    key = ", ".join(f'"{k.name}": {_EXAMPLES[k.type]}' for k in pipeline.plan.key)
    # What the example's model wants; a table without a model takes it as well.
    rest = '"title": "Hello", "author": "ann", "blocks": []'
    search, cloud = pipeline.services
    return f"""\
tables    {", ".join(pipeline.tables)}
AWS       {cloud.url}  (moto: DynamoDB, SQS, S3)
search    {search.url}  (osmem: speaks as Elasticsearch does)
logs      {pipeline.plan.directory}

Paste this into another shell:

{exports}

and write to the table:

import boto3
table = boto3.resource("dynamodb").Table("{name}")
table.put_item(Item={{{key}, {rest}}})

Then: sluice search {pipeline.tables[name].alias} hello

Ctrl-C ends it."""


_EXAMPLES: Final = {"S": '"1"', "N": "1", "B": 'b"1"'}
