"""What `sluice dead-letters` is told: read once from the environment, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from console.settings import read_part
from producer.errors import ConfigurationError as ProducerConfigurationError
from producer.settings import Settings as ProducerSettings
from worker.errors import ConfigurationError
from worker.settings import Setting

QUEUES: Final = frozenset({"SLUICE_QUEUE_URL", "SLUICE_DEAD_LETTER_URL"})

SETTINGS: Final = (
    Setting(
        "SLUICE_ON_FAILURE_BUCKET",
        "",
        "S3 bucket of the event source mapping's on-failure destination, read by"
        " `sluice dead-letters lambda`, and by `sluice status` to tell a gap.",
    ),
    Setting(
        "SLUICE_ON_FAILURE_PREFIX",
        "",
        "Start of the names of the objects in it that are invocation records. Empty: all.",
    ),
)
"""Variables of this command alone, besides those that it shares with worker and producer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command is told."""

    queue_url: str
    dead_letter_url: str
    overflow_bucket: str
    """Empty if none is named."""
    batch_bytes: int
    on_failure_bucket: str
    on_failure_prefix: str
    tables: str
    producer: ProducerSettings | None
    """For reading stream records again; None if its settings are incomplete."""
    producer_problem: str
    """What is missing then."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment.

    Raises ConfigurationError naming every problem of the queues at once.
    """
    part = read_part(environment, QUEUES)
    if part.queue_url == part.dead_letter_url:
        raise ConfigurationError("SLUICE_QUEUE_URL and SLUICE_DEAD_LETTER_URL name the same queue")
    producer, problem = _read_producer(environment)
    bucket, prefix = read_on_failure(environment)
    return Settings(
        queue_url=part.queue_url,
        dead_letter_url=part.dead_letter_url,
        overflow_bucket=environment.get("SLUICE_OVERFLOW_BUCKET", "").strip(),
        batch_bytes=producer.batch_bytes if producer else BATCH_BYTES,
        on_failure_bucket=bucket,
        on_failure_prefix=prefix,
        tables=environment.get("SLUICE_TABLES", "").strip(),
        producer=producer,
        producer_problem=problem,
    )


BATCH_BYTES: Final = 262_144
"""Fits every queue, whatever its limit; used if SLUICE_BATCH_BYTES cannot be read."""


def read_on_failure(environment: Mapping[str, str]) -> tuple[str, str]:
    """Bucket and prefix of Lambda's on-failure objects; empty if none is named."""
    names = ("SLUICE_ON_FAILURE_BUCKET", "SLUICE_ON_FAILURE_PREFIX")
    bucket, prefix = (environment.get(name, "").strip() for name in names)
    return bucket, prefix


def _read_producer(environment: Mapping[str, str]) -> tuple[ProducerSettings | None, str]:
    try:
        return ProducerSettings.read(environment), ""
    except ProducerConfigurationError as error:
        return None, str(error)
