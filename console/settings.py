"""The part of the worker's settings that a command needs. The same variables, the same rules."""

from collections.abc import Collection, Mapping
from typing import Final

from worker.settings import SETTINGS, Settings, read_settings

CLUSTER: Final = frozenset(
    {
        "SLUICE_ELASTICSEARCH_URL",
        "SLUICE_ELASTICSEARCH_API_KEY",
        "SLUICE_ELASTICSEARCH_CA_CERTS",
        "SLUICE_ELASTICSEARCH_TIMEOUT_S",
    }
)
"""What it takes to ask the cluster."""


def read_part(environment: Mapping[str, str], needed: Collection[str]) -> Settings:
    """The worker's settings, of which only those in `needed` must be there; use no other.

    Raises ConfigurationError naming every problem of those at once.
    """
    part = {name: environment[name] for name in needed if name in environment}
    # Whoever searches need not know where the queue is.
    unneeded = [s.name for s in SETTINGS if s.default is None and s.name not in needed]
    return read_settings({**part, **{name: f"http://unused.invalid/{name}" for name in unneeded}})
