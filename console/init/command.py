"""`sluice init`: a starting project for a table, guessed from its key and a sample."""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from console.check.items import read_items, sample_items
from console.deadletters.sweep import interruptible
from console.errors import MisuseError
from console.help import write_epilog
from console.init.files import (
    PLACEHOLDER,
    write_dockerfile,
    write_environment,
    write_readme,
    write_terraform,
)
from console.init.guess import guess_models
from console.init.module import count_items, write_module, write_test
from console.init.names import module_name, variable_name
from console.init.shape import survey
from console.local.up import read_key
from console.local.workers import ROOT
from console.scan import Meter
from console.session import Session, TableFacts
from producer.contract import Item
from worker.errors import SluiceError, UnavailableError
from worker.tables import Table

SAMPLE: Final = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a table."""

    key: Mapping[str, str]
    """The type of each key attribute."""
    items: Sequence[Item]
    stream_on: bool


@click.command(
    epilog=write_epilog(
        "sluice init posts",
        "sluice init posts --directory search --items 1000",
        "sluice init posts --file items.json --key author:S,at:N",
        codes="0 written, 1 the table does not answer, 2 misuse; then nothing is written",
        more="docs/check.md has more.",
    )
)
@click.argument("table")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write. Default: a folder named after the table.",
)
@click.option(
    "--items",
    "wanted",
    type=click.IntRange(1, 100_000),
    default=SAMPLE,
    show_default=True,
    help="Look at about so many items of the table.",
)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Look at the items of a file: JSON or JSON lines, typed as DynamoDB writes it or plain.",
)
@click.option("--key", help="Key of the table, without asking it: NAME:TYPE, or two by a comma.")
@click.option("--module", help="Name of the tables module. Default: <table>_table.")
def command(
    *,
    table: str,
    directory: Path | None,
    wanted: int,
    file: Path | None,
    key: str | None,
    module: str | None,
) -> int:
    """Write a starting project for TABLE: tables module, test, Terraform root, image.

    The table is asked for its key and for a sample of its items; no value of them is written.
    Nothing that is there already is overwritten.
    """
    Table(table, alias="checked-for-its-name-alone")
    name = _check_module(module or module_name(table))
    folder = directory or Path(variable_name(table))
    _refuse_overwriting(folder, _name_files(name))
    with interruptible() as stop:
        sample = take_sample(Session(os.environ, stop=stop), table, wanted, file, key)
    files = make_files(table, name, sample, _find_source(folder), os.environ.get("AWS_REGION", ""))
    _write(folder, files)
    seen = count_items(len(sample.items)) if sample.items else "no item: the table is empty"
    click.echo(f"Guessed from {seen}, and the key {', '.join(sample.key)}. Written:")
    for path in files:
        click.echo(f"  {folder / path}")
    click.echo(f"Next: read {folder / f'{name}.py'}, then {folder / 'README.md'}.")
    return 0


def make_files(table: str, module: str, sample: Sample, source: str, region: str) -> dict[str, str]:
    """The project's files by their paths in it. Pure.

    source: of the Terraform module. region: of AWS; empty if unknown.
    """
    models = guess_models(table, survey(sample.items, sample.key), sample.key)
    texts = (
        write_module(table, models, len(sample.items)),
        write_test(table, module, models[-1], list(sample.key)),
        write_terraform(table, module, source),
        write_dockerfile(module),
        write_environment(module, region),
        write_readme(table, module, sample.key, source, stream_on=sample.stream_on),
    )
    return dict(zip(_name_files(module), texts, strict=True))


def take_sample(
    session: Session, table: str, wanted: int, file: Path | None, key: str | None
) -> Sample:
    """Key and items, from the table or as they are given.

    Raises MisuseError, UnavailableError, InterruptedByUserError.
    """
    given = {part.name: part.type for part in read_key(key)} if key else {}
    if given and file is not None:
        return Sample(given, _check_items(read_items(file), given, file), stream_on=False)
    if given:
        raise MisuseError("--key is for --file: a table is asked for its key")
    facts = _describe(session, table, file)
    types = dict(facts.types)
    if file is not None:
        return Sample(types, _check_items(read_items(file), types, file), facts.stream_on)
    reader = session.reader(Table(table, alias="unused"), facts, Meter(None), timed=False)
    items = sample_items(reader, facts.items, wanted, random.Random())
    return Sample(types, items, facts.stream_on)


def _describe(session: Session, table: str, file: Path | None) -> TableFacts:
    try:
        return session.describe(Table(table, alias="unused"))
    except SluiceError as error:
        if file is not None:
            raise MisuseError(
                f"the key is not known: {error}", hint="give --key NAME:TYPE"
            ) from error
        away = isinstance(error, UnavailableError)
        kind: type[SluiceError] = UnavailableError if away else MisuseError
        ways = [error.hint, "give --file items.json --key NAME:TYPE"]
        raise kind(str(error.args[0]), hint=", or ".join(filter(None, ways))) from error


def _check_items(items: Sequence[Item], key: Mapping[str, str], file: Path) -> Sequence[Item]:
    for number, item in enumerate(items, start=1):
        for name, kind in key.items():
            if kind not in item.get(name, {}):
                raise MisuseError(
                    f"{file}, item {number}: no key attribute {name} of type {kind}",
                    hint="check --key; binaries need items typed as DynamoDB writes them",
                )
    return items


def _check_module(name: str) -> str:
    if not name.isidentifier() or variable_name(name) != name.lower():
        raise MisuseError(f"{name!r:.80} is no name of a module", hint="for example posts_table")
    return name


def _name_files(module: str) -> tuple[str, ...]:
    others = ("infra/main.tf", "Dockerfile", "local.env", "README.md")
    return (f"{module}.py", f"test_{module}.py", *others)


def _refuse_overwriting(folder: Path, names: Sequence[str]) -> None:
    there = [str(folder / name) for name in names if os.path.lexists(folder / name)]
    if there:
        raise MisuseError(
            f"{', '.join(there)} would be overwritten; nothing was written",
            hint="choose another --directory or --module",
        )


def _find_source(folder: Path) -> str:
    """Sluice's Terraform module, as `infra/main.tf` in the folder may name it."""
    if not (ROOT / "infra" / "versions.tf").exists():
        return PLACEHOLDER
    way = os.path.relpath(ROOT / "infra", (folder / "infra").resolve())
    # Terraform takes a path for one only if it begins so (Module Sources).
    return way if way.startswith("..") else f"./{way}"


def _write(folder: Path, files: Mapping[str, str]) -> None:
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise MisuseError(f"cannot write the project: {error}") from error
