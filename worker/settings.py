"""The worker's settings: read once from the environment, frozen, every problem named at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from worker.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable of the environment, as docs/configuration.md lists it."""

    name: str
    default: str | None
    """None: it must be set."""
    doc: str
    secret: bool = False


SETTINGS: Final = (
    Setting("SLUICE_QUEUE_URL", None, "URL of the queue that carries the changes."),
    Setting(
        "SLUICE_DEAD_LETTER_URL",
        None,
        "URL of its dead-letter queue, where refused changes wait for a person.",
    ),
    Setting(
        "SLUICE_OVERFLOW_BUCKET",
        "",
        "S3 bucket of images too large for a message. Empty: a change that names one is refused.",
    ),
    Setting(
        "SLUICE_ELASTICSEARCH_URL",
        None,
        "Address of the cluster, http or https, without credentials.",
    ),
    Setting(
        "SLUICE_ELASTICSEARCH_API_KEY",
        "",
        "API key, base64 as Elasticsearch shows it. Empty: none is sent. It goes over https alone,"
        " or over http to this machine.",
        secret=True,
    ),
    Setting(
        "SLUICE_ELASTICSEARCH_CA_CERTS",
        "",
        "File of the certificate authority that signed the cluster's certificate. Empty: the"
        " system's authorities.",
    ),
    Setting(
        "SLUICE_ELASTICSEARCH_TIMEOUT_S",
        "60",
        "Seconds one request to the cluster may take, 1 to 600.",
    ),
    Setting(
        "SLUICE_TABLES",
        None,
        "Python modules, comma-separated, that declare `Table(...)` objects.",
    ),
    Setting(
        "SLUICE_CONCURRENCY",
        "4",
        "Processes of one worker, each with at most one bulk in flight, 1 to 256.",
    ),
    Setting(
        "SLUICE_CLOCK_MARGIN_S",
        "60",
        "Seconds by which clocks may differ: a read of the table supersedes a change only if it"
        " is later by more, 1 to 3,600.",
    ),
    Setting(
        "SLUICE_HORIZON_DAYS",
        "30",
        "Age in days from which a change is settled by reading the table, and for which tombstones"
        " are kept, 1 to 3,650.",
    ),
    Setting(
        "SLUICE_TASK_LIMIT_S",
        "300",
        "Seconds after which a chunk's process is stopped and the chunk comes again, 10 to 40,000."
        " Until then its message is kept hidden, whatever the queue's visibility timeout.",
    ),
    Setting(
        "SLUICE_DRAIN_S",
        "25",
        "Seconds that chunks in work have to end after SIGTERM, before they are given back, 0 to"
        " 3,600. Keep it 10 s below the time the container has to stop.",
    ),
    Setting(
        "SLUICE_HEALTH_FILE",
        "",
        "File that the worker touches each second while it polls, pauses or drains, for"
        " `python -m worker health`. Empty: none.",
    ),
    Setting(
        "SLUICE_VALVE_REFUSALS",
        "100",
        "Refused changes within the window that shut the valve of a worker, if they are also a"
        " share of SLUICE_VALVE_RATE, 0 to 1,000,000. 0: it never shuts.",
    ),
    Setting(
        "SLUICE_VALVE_RATE",
        "50",
        "Percent of all changes within the window that must be refused for the valve to shut,"
        " 1 to 100.",
    ),
    Setting("SLUICE_VALVE_WINDOW_S", "60", "Length of that window in seconds, 1 to 3,600."),
    Setting(
        "SLUICE_VALVE_PAUSE_S",
        "60",
        "Seconds from the valve's shutting to a trial with one message, 1 to 86,400.",
    ),
    Setting(
        "SLUICE_ATTEMPTS",
        "3",
        "Receipts of a message from which on a defect of the worker's own code, a lost process, the"
        " time limit or a lack of memory dead-letters it, with the reason, 1 to 1,000. Keep it"
        " below the queue's maxReceiveCount: what SQS moves itself has no reason.",
    ),
    Setting(
        "SLUICE_STATE_S",
        "10",
        "Seconds between a worker's notes of its state in the cluster, for `sluice status`, and its"
        " looks for an operator's word, 1 to 20. 0: none.",
    ),
    Setting(
        "SLUICE_METRICS_PORT",
        "0",
        "Port where the worker serves its metrics as Prometheus text, up to 65,535. 0: nowhere.",
    ),
    Setting("SLUICE_METRICS_HOST", "127.0.0.1", "Address that this port is opened on."),
    Setting(
        "SLUICE_LOG_LEVEL",
        "INFO",
        "DEBUG, INFO, WARNING or ERROR. The lines that carry metrics are written at any. No content"
        " of a document is in the log; DEBUG adds ids of documents, and the words of exceptions,"
        " which may quote one.",
    ),
    Setting(
        "SLUICE_LOG_SAMPLE",
        "100",
        "Percent of chunks that get a line of their own, 0 to 100; a chunk with a refusal always"
        " does. Metrics are counted over all chunks.",
    ),
)
"""Every variable of the worker, besides the standard ones of AWS."""

SOFT_SHARE: Final = 0.9
"""Of the time after which a task is killed, the share after which it is interrupted."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the worker is told. Meaning and bounds of each: `SETTINGS`."""

    queue_url: str
    dead_letter_url: str
    overflow_bucket: str
    elasticsearch_url: str
    elasticsearch_api_key: str
    elasticsearch_ca_certs: str
    elasticsearch_timeout_s: int
    tables: str
    concurrency: int
    clock_margin_s: int
    horizon_days: int
    task_limit_s: int
    drain_s: int
    health_file: str
    valve_refusals: int
    valve_rate: int
    valve_window_s: int
    valve_pause_s: int
    attempts: int
    state_s: int
    metrics_port: int
    metrics_host: str
    log_level: str
    log_sample: int

    @property
    def soft_limit_s(self) -> float:
        """When a task is interrupted; at `task_limit_s` it is killed."""
        return self.task_limit_s * SOFT_SHARE

    def __repr__(self) -> str:
        shown = (
            f"{setting.name}={'***' if setting.secret else getattr(self, _field(setting))}"
            for setting in SETTINGS
        )
        return f"Settings({', '.join(shown)})"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment. Raises ConfigurationError naming every problem at once."""
    problems: list[str] = []
    values = {_field(setting): _read(setting, environment, problems) for setting in SETTINGS}
    if values["queue_url"] is not None and values["queue_url"] == values["dead_letter_url"]:
        problems.append("SLUICE_DEAD_LETTER_URL is the same queue as SLUICE_QUEUE_URL")
    url, key = values["elasticsearch_url"], values["elasticsearch_api_key"]
    if key and url is not None and not _keeps_secrets(url):
        problems.append(
            "SLUICE_ELASTICSEARCH_URL is http and not of this machine: whoever listens would read"
            " SLUICE_ELASTICSEARCH_API_KEY; give an https address"
        )
    if problems:
        raise ConfigurationError(
            "settings: " + "; ".join(problems), hint="docs/configuration.md lists them all"
        )
    return Settings(**values)


def _field(setting: Setting) -> str:
    return setting.name.removeprefix("SLUICE_").lower()


def _read(setting: Setting, environment: Mapping[str, str], problems: list[str]) -> Any:
    text = environment.get(setting.name, "").strip() or setting.default
    if text is None:
        problems.append(f"{setting.name} is not set: {setting.doc}")
        return None
    try:
        return _READERS.get(setting.name, str)(text)
    except ValueError as error:
        # An address may hold a password by mistake; then it is as secret as a key.
        shown = "its value" if setting.secret or "@" in text else repr(text)
        problems.append(f"{setting.name}: {shown} {error}")
        return None


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("is no whole number") from None
        if not low <= value <= high:
            raise ValueError(f"is not between {low:,} and {high:,}")
        return value

    return read


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is no http or https address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http or https address")
    if parts.username or parts.password:
        raise ValueError("holds credentials: use SLUICE_ELASTICSEARCH_API_KEY")
    return text


def _keeps_secrets(url: str) -> bool:
    """Whether what is sent there can be read by nobody on the way."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _queue_url(text: str) -> str:
    url = _url(text)
    if not urlsplit(url).path.strip("/"):
        raise ValueError("names no queue")
    return url


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("is no log level")
    return text.upper()


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "SLUICE_QUEUE_URL": _queue_url,
    "SLUICE_DEAD_LETTER_URL": _queue_url,
    "SLUICE_ELASTICSEARCH_URL": _url,
    "SLUICE_ELASTICSEARCH_TIMEOUT_S": _whole(1, 600),
    "SLUICE_CONCURRENCY": _whole(1, 256),
    "SLUICE_CLOCK_MARGIN_S": _whole(1, 3_600),
    "SLUICE_HORIZON_DAYS": _whole(1, 3_650),
    "SLUICE_TASK_LIMIT_S": _whole(10, 40_000),
    "SLUICE_DRAIN_S": _whole(0, 3_600),
    "SLUICE_VALVE_REFUSALS": _whole(0, 1_000_000),
    "SLUICE_VALVE_RATE": _whole(1, 100),
    "SLUICE_VALVE_WINDOW_S": _whole(1, 3_600),
    "SLUICE_VALVE_PAUSE_S": _whole(1, 86_400),
    "SLUICE_ATTEMPTS": _whole(1, 1_000),
    "SLUICE_STATE_S": _whole(0, 20),
    "SLUICE_METRICS_PORT": _whole(0, 65_535),
    "SLUICE_LOG_LEVEL": _level,
    "SLUICE_LOG_SAMPLE": _whole(0, 100),
}
