"""What the producer is told by its environment, read once and checked as a whole."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from producer.contract import queue_name
from producer.errors import ConfigurationError

LEAST_BYTES: Final = 32_768
"""Room for a change without its images, whatever its key (up to 3 KB, of any bytes), table and
attribute names, and for the reason should it be dead-lettered."""

MOST_BYTES: Final = 1_048_576
"""Limit of SQS for a message, and for a SendMessageBatch in total (AWS: 1 MiB)."""

MOST_CHUNK_BYTES: Final = 8_388_608
"""Half of what a reader of the contract is ready to inflate."""

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_SWITCH: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable of the environment. `default` is None where it must be given."""

    name: str
    default: str | None
    doc: str


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("SLUICE_QUEUE_URL", None, "URL of the standard SQS queue that the workers drain."),
    Setting(
        "SLUICE_DEAD_LETTER_URL",
        None,
        "URL of that queue's dead-letter queue: records that cannot be read go there.",
    ),
    Setting(
        "SLUICE_OVERFLOW_BUCKET",
        None,
        "S3 bucket for the images of changes that are too large for a message.",
    ),
    Setting(
        "SLUICE_MESSAGE_BYTES",
        "262144",
        "Most bytes of one message on the wire, envelope and dead-letter attributes included: "
        "32768 to 1048576. Not more than the queue's own MaximumMessageSize.",
    ),
    Setting(
        "SLUICE_BATCH_BYTES",
        "1048576",
        "Most bytes of one SendMessageBatch call in total: SLUICE_MESSAGE_BYTES to 1048576.",
    ),
    Setting(
        "SLUICE_CHUNK_BYTES",
        "1048576",
        "Most bytes of one chunk before compression, which bounds a worker's memory: "
        "32768 to 8388608.",
    ),
    Setting(
        "SLUICE_OLD_IMAGES",
        "false",
        "true forwards old images too, for handlers that compare. They double the bytes, and the "
        "stream must carry NEW_AND_OLD_IMAGES.",
    ),
    Setting("SLUICE_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR."),
)
"""Every variable of ours that the producer reads. Beside them only AWS's standard ones."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The producer's settings. Fields are named after their variables; see SETTINGS."""

    queue_url: str
    dead_letter_url: str
    overflow_bucket: str
    message_bytes: int = 262_144
    batch_bytes: int = 1_048_576
    chunk_bytes: int = 1_048_576
    old_images: bool = False
    log_level: str = "INFO"

    @property
    def queue(self) -> str:
        """Name of the queue: the last part of its URL."""
        return queue_name(self.queue_url)

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "Settings":
        """Settings from an environment. Raises ConfigurationError naming every problem at once."""
        reader = _Reader(env)
        message_bytes = reader.whole("SLUICE_MESSAGE_BYTES", LEAST_BYTES, MOST_BYTES)
        settings = cls(
            queue_url=reader.read("SLUICE_QUEUE_URL", _check_url),
            dead_letter_url=reader.read("SLUICE_DEAD_LETTER_URL", _check_url),
            overflow_bucket=reader.read("SLUICE_OVERFLOW_BUCKET", _check_bucket),
            message_bytes=message_bytes,
            batch_bytes=reader.whole("SLUICE_BATCH_BYTES", message_bytes, MOST_BYTES),
            chunk_bytes=reader.whole("SLUICE_CHUNK_BYTES", LEAST_BYTES, MOST_CHUNK_BYTES),
            old_images=_SWITCH.get(reader.read("SLUICE_OLD_IMAGES", _check_switch), False),
            log_level=reader.read("SLUICE_LOG_LEVEL", _check_level),
        )
        if settings.queue_url and settings.queue_url == settings.dead_letter_url:
            reader.problems.append(
                f"SLUICE_DEAD_LETTER_URL is {settings.queue_url!r:.200}, the same queue as "
                "SLUICE_QUEUE_URL: dead letters would be taken for work; name the other queue"
            )
        if reader.problems:
            raise ConfigurationError("; ".join(reader.problems))
        return settings


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._defaults = {setting.name: setting.default for setting in SETTINGS}
        self.problems: list[str] = []

    def read(self, name: str, check: Callable[[str], str]) -> str:
        """The variable's text, or "" with a problem noted. `check` answers what is wrong."""
        text = self._env.get(name, "").strip() or self._defaults[name]
        if text is None:
            self.problems.append(f"{name} is not set: {_doc(name)}")
            return ""
        problem = check(text)
        if problem:
            self.problems.append(f"{name} {problem}")
            return ""
        return text

    def whole(self, name: str, least: int, most: int) -> int:
        """The variable as a whole number of these bounds; `least` with a problem noted."""

        def check(text: str) -> str:
            digits = text.isascii() and text.isdecimal() and len(text) < 20
            if digits and least <= int(text) <= most:
                return ""
            return f"is {text!r:.40}: give a whole number of bytes from {least} to {most}"

        return int(self.read(name, check) or least)


def _doc(name: str) -> str:
    return next(setting.doc for setting in SETTINGS if setting.name == name)


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return "is no URL; give the queue's URL as SQS tells it"
    if parts.username or parts.password:
        return "holds credentials (not shown): leave them to the AWS credential chain"
    if parts.scheme not in ("http", "https") or not host:
        return f"is {text!r:.200}: give the queue's URL, starting with https://"
    if queue_name(text).endswith(".fifo"):
        return f"is {text!r:.200}, a FIFO queue: name a standard queue, order is kept without it"
    if not _QUEUE_NAME.fullmatch(queue_name(text)):
        return f"is {text!r:.200}: the last part of the path must be the queue's name"
    return ""


def _check_bucket(text: str) -> str:
    if _BUCKET.fullmatch(text):
        return ""
    return f"is {text!r:.100}: give the bucket's name alone, 3 to 63 of a-z, 0-9, dot and hyphen"


def _check_switch(text: str) -> str:
    return "" if text in _SWITCH else f"is {text!r:.40}: give true or false"


def _check_level(text: str) -> str:
    return "" if text in _LEVELS else f"is {text!r:.40}: give one of {', '.join(_LEVELS)}"
