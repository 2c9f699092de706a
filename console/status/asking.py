"""Asks one thing after another; what does not answer is noted, and not asked again in this look."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from console.aws import explain_aws
from console.errors import MisuseError
from console.status.facts import Unknown
from worker.errors import ConfigurationError, MovedError, SluiceError, UnavailableError

CLUSTER: Final = "cluster"
_AWS: Final = "aws"

T = TypeVar("T")


@dataclass
class Asker:
    """One look. What is away once counts as away for the rest of it: nobody waits twice."""

    away: dict[str, Unknown] = field(default_factory=dict)
    """By service; `aws` stands for all of its services."""

    def ask(
        self, unknown: dict[str, Unknown], name: str, service: str, question: Callable[[], T]
    ) -> T | None:
        """The answer, or None and a note in `unknown`. service: whose silence it would be."""
        known = self.away.get(service) or (None if service == CLUSTER else self.away.get(_AWS))
        if known is not None:
            unknown[name] = known
            return None
        try:
            return question()
        except (MisuseError, UnavailableError, ConfigurationError) as error:
            told: SluiceError = error
            cause = error.__cause__
        except (BotoCoreError, ClientError) as error:
            told, cause = explain_aws(error, f"cannot ask {service}"), error
        unknown[name] = explain(told)
        if isinstance(cause, NoCredentialsError | PartialCredentialsError):
            # Said of one service, it holds for all.
            unknown[name] = self.away[_AWS] = Unknown("no AWS credentials", told.hint)
        if isinstance(told, UnavailableError) and not isinstance(told, MovedError):
            self.away.setdefault(service, unknown[name])
        return None


def explain(error: SluiceError) -> Unknown:
    """An error in one line, its hint apart."""
    words = " ".join(str(error.args[0] if error.args else error).split())
    return Unknown(words[:600], error.hint)
