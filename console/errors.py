"""Errors of the command line, named by what happens next."""

from worker.errors import SluiceError


class MisuseError(SluiceError):
    """The command was called wrongly: it did nothing, and ends with exit code 2."""


class CursorError(MisuseError):
    """The cursor is none of ours, or belongs to another search."""


class InterruptedByUserError(SluiceError):
    """Ctrl-C or SIGTERM: what was done is kept, the same command goes on from there."""


class CheckpointError(MisuseError):
    """The checkpoint cannot be used, or no longer written. What was done before does no harm."""
