"""Options that several subcommands share."""

import functools
from collections.abc import Callable
from typing import Any

import click

from console.deadletters.filters import Filter, read_duration
from console.deadletters.sweep import PATIENCE_S


def _read_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else read_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


_FILTERS = (
    click.option("--message", "messages", multiple=True, metavar="ID", help="This message."),
    click.option("--table", "tables", multiple=True, metavar="NAME", help="Of this table."),
    click.option("--index", "indices", multiple=True, metavar="NAME", help="For this index."),
    click.option("--error", "errors", multiple=True, metavar="CLASS", help="Of this error class."),
    click.option("--reason", default="", metavar="TEXT", help="With this text in the reason."),
    click.option(
        "--key",
        "keys",
        multiple=True,
        metavar="KEY",
        help="Of this item: its document's id, its key as typed JSON, or a key attribute's value.",
    ),
    click.option(
        "--older-than",
        "older_than_ms",
        metavar="AGE",
        callback=_read_duration,
        help="Dead-lettered longer ago than this: 90s, 15m, 36h, 14d, 2w.",
    ),
    click.option(
        "--newer-than",
        "newer_than_ms",
        metavar="AGE",
        callback=_read_duration,
        help="Dead-lettered more recently than this.",
    ),
)

wait_option = click.option(
    "--wait",
    "patience_s",
    type=click.FloatRange(0, 3_600),
    default=PATIENCE_S,
    show_default=True,
    help="Seconds to wait for messages that another reader holds.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the filters, handed over as one `filter`. Each may be repeated: any of its values."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:
        names = Filter.__dataclass_fields__
        chosen = {name: given.pop(name) for name in names}
        chosen["messages"] = frozenset(chosen["messages"])
        return command(filter=Filter(**chosen), **given)

    for option in reversed(_FILTERS):
        wrapped = option(wrapped)
    return wrapped
