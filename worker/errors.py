"""Errors, named by what happens next."""

from dataclasses import dataclass


class SluiceError(Exception):
    """Base of every error of ours. `hint` says what a person can do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class ConfigurationError(SluiceError):
    """A person must change a setting or a table module. The process ends and says so."""


class UnavailableError(SluiceError):
    """Something outside is away. The message stays in the queue and comes again."""


class DeniedError(UnavailableError):
    """It answers, but not us. Whoever has no queue to wait in need not ask again by themselves."""


class UnansweredError(UnavailableError):
    """No answer came in time. The message stays, and to ask for the same now would only wait."""


class ContentionError(UnavailableError):
    """Others kept changing the same documents. The message stays in the queue and comes again."""


class MovedError(UnavailableError):
    """The alias that was written to is gone. Whoever knows the way asks for the new one."""


class UnsendableError(SluiceError):
    """The dead-letter queue will not take it from us. It comes again, until SQS moves it there."""


class RejectedError(SluiceError):
    """Nobody can read or place this message. All of it goes to the dead-letter queue.

    `error` is the class of the rejection, as the dead letter names it.
    """

    def __init__(self, error: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.error = error


@dataclass(eq=False)
class RefusedError(SluiceError):
    """This one change cannot be applied. It alone goes to the dead-letter queue."""

    error: str
    """Class of the refusal: the cluster's error type, or the name of ours."""
    reason: str
    """In the words of whoever refused it."""

    def __post_init__(self) -> None:
        super().__init__(f"{self.error}: {self.reason}")
