"""What the commands print to: colours on a terminal, plain text elsewhere and under NO_COLOR."""

from rich.console import Console


def make_console(*, stderr: bool = False) -> Console:
    """A console for text that may hold anything: no markup is read in it.

    rich itself heeds NO_COLOR and leaves colours out where the output is no terminal.
    """
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
