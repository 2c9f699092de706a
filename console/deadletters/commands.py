"""`sluice dead-letters`: list, groups, show. The rest lies in `moves` and `lambdacommands`."""

from typing import Final

import click

from console.deadletters.display import (
    describe_group,
    print_end,
    print_explanation,
    print_groups,
    print_json,
    print_letters,
    progress,
)
from console.deadletters.explain import Explainer, describe_letter
from console.deadletters.filters import Filter, group_letters
from console.deadletters.lambdacommands import lambda_group
from console.deadletters.model import Letter, Received
from console.deadletters.moves import export_command, import_command, purge, redrive
from console.deadletters.options import filter_options, json_option, wait_option
from console.deadletters.redrive import Choice, Look
from console.deadletters.session import Session, open_session
from console.deadletters.sweep import Outcome, Sweep, interruptible
from console.errors import MisuseError
from console.help import write_epilog
from worker.errors import ConfigurationError

INTERRUPTED: Final = 130
READ_CODES: Final = "0 all was seen, 1 saw only a part, 2 misuse"


@click.group(
    epilog=write_epilog(
        "sluice dead-letters groups",
        "sluice dead-letters list --error ValidationError --newer-than 2h",
        "sluice dead-letters redrive --table posts --dry-run",
        codes="0 fine, 1 found something wrong or saw only a part, 2 misuse",
        more="Needs SLUICE_QUEUE_URL and SLUICE_DEAD_LETTER_URL, and acts on no other pair.",
    )
)
def command() -> None:
    """Find what could not be applied, understand it, and put it back.

    SQS lets nobody look at a message without receiving it. Every subcommand gives each one back
    as soon as it has read it, and at the latest when it ends, however it ends.
    """


for _part in (redrive, purge, export_command, import_command, lambda_group):
    command.add_command(_part)


def _look(session: Session, filter: Filter, patience_s: float) -> tuple[list[Letter], Outcome]:
    """Every letter that is meant, the oldest first."""
    found: list[Letter] = []
    pair = session.pair
    work = Look(Choice(filter, pair.now_ms), lambda received, letter: found.append(letter))
    with interruptible() as stop, progress("reading", pair.count()) as work.advance:
        outcome = Sweep(pair, work, stop, pair.now_ms, patience_s).run()
    return sorted(found, key=lambda letter: (letter.since_ms, letter.message)), outcome


def exit_code(outcome: Outcome) -> int:
    """Of a command that reads: 1 if it may have missed something."""
    if outcome.interrupted:
        return INTERRUPTED
    return 1 if outcome.missed else 0


@command.command(
    "list",
    epilog=write_epilog(
        "sluice dead-letters list",
        """sluice dead-letters list --table posts --key '{"id": {"S": "7f3a"}}' --json""",
        codes=READ_CODES,
    ),
)
@filter_options
@wait_option
@json_option
def list_letters(filter: Filter, patience_s: float, as_json: bool) -> int:
    """List dead letters: keys, ids, error, reason; no documents."""
    letters, outcome = _look(open_session(), filter, patience_s)
    if as_json:
        fields = {"complete": exit_code(outcome) == 0, "messages": [*map(describe_letter, letters)]}
        print_json(fields)
    elif letters:
        print_letters(letters)
        click.echo(f"\n{len(letters):,} of {outcome.seen:,} messages.")
    else:
        click.echo(f"None of {outcome.seen:,} messages.")
    print_end(outcome)
    return exit_code(outcome)


@command.command(
    epilog=write_epilog(
        "sluice dead-letters groups",
        "sluice dead-letters groups --newer-than 1h --json",
        codes=READ_CODES,
    )
)
@filter_options
@wait_option
@json_option
def groups(filter: Filter, patience_s: float, as_json: bool) -> int:
    """Count dead letters by error class and table."""
    letters, outcome = _look(open_session(), filter, patience_s)
    found = group_letters(letters)
    if as_json:
        described = [*map(describe_group, found)]
        print_json({"complete": exit_code(outcome) == 0, "groups": described})
    elif found:
        print_groups(found)
    else:
        click.echo(f"None of {outcome.seen:,} messages.")
    print_end(outcome)
    return exit_code(outcome)


@command.command(
    epilog=write_epilog(
        "sluice dead-letters show 0b1f4c1e-6f0e-4f0a-9a39-1f3c5e1f8b7d",
        codes="0 fine, 1 saw only a part, 2 misuse, or no such message",
    )
)
@click.argument("message")
@wait_option
@json_option
def show(message: str, patience_s: float, as_json: bool) -> int:
    """Show one dead letter, the document it would become included.

    MESSAGE is its id, as `list` prints it. SLUICE_TABLES names the tables' modules.
    """
    session = open_session()
    pair = session.pair
    found: list[tuple[Received, Letter]] = []
    work = Look(
        Choice(Filter(messages=frozenset({message})), pair.now_ms),
        lambda received, letter: found.append((received, letter)),
        enough=lambda: bool(found),
    )
    with interruptible() as stop, progress("looking", pair.count()) as work.advance:
        outcome = Sweep(pair, work, stop, pair.now_ms, patience_s).run()
    print_end(outcome)
    if not found:
        if outcome.interrupted or outcome.missed:
            return exit_code(outcome)
        raise MisuseError(f"no dead letter has the id {message!r:.120}", hint="see `list`")
    said = _explainer(session).explain(*found[0])
    print_json(said) if as_json else print_explanation(said)
    return 0


def _explainer(session: Session) -> Explainer:
    from worker.tables import load_tables

    modules = session.settings.tables
    try:
        tables = load_tables(modules) if modules else {}
    except ConfigurationError as error:
        # The letter is what was asked for; the person learns why its document is a plain one.
        click.echo(f"sluice: {error}", err=True)
        tables = {}
    return Explainer(tables, session.overflow.fetch, session.pair.max_receives)
