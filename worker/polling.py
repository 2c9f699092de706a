"""One ReceiveMessage after the other, whatever SQS answers.

Mends three faults of kombu 5.7.0: an answer other than 200 ends its poll loop for good or the
whole process; its HTTP client never applies the timeouts it is given, so that a silent socket ends
the loop too; and it takes libcurl's milliseconds for seconds.
"""

import json
import logging
from dataclasses import dataclass
from typing import Any

import pycurl
from kombu.asynchronous import get_event_loop
from kombu.asynchronous.aws.connection import AsyncHTTPSConnection
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.asynchronous.http.curl import CurlClient

log = logging.getLogger(__name__)

# kombu calls itself typed, but most of it is not.
_StockClient: Any = CurlClient
_StockHttp: Any = AsyncHTTPSConnection
_StockConnection: Any = AsyncSQSConnection


@dataclass(frozen=True, slots=True)
class Failure:
    """A ReceiveMessage that brought no answer worth reading."""

    reason: str
    """What went wrong, short, the same for the same fault, without the answer's text: that may
    quote the request, its signature included."""


class Health:
    """Whether receiving works. Logs when that changes, and not at every poll."""

    def __init__(self) -> None:
        self.failures = 0
        self._reason = ""

    def failed(self, reason: str) -> None:
        """Take note of a failed poll."""
        self.failures += 1
        if reason != self._reason:
            log.warning("receiving from SQS fails: %s; polling goes on, ever more slowly", reason)
        self._reason = reason

    def succeeded(self) -> None:
        """Take note of a poll that was answered, with or without messages."""
        if self.failures:
            log.warning("receiving from SQS works again, after %d failures", self.failures)
        self.failures, self._reason = 0, ""


class TimelyClient(_StockClient):  # type: ignore[misc]  # see _StockClient
    """An HTTP client that looks when libcurl asks it to, and keeps one timer.

    libcurl has one timer, in milliseconds, that each call sets anew (CURLMOPT_TIMERFUNCTION). The
    stock client waits as many seconds and forgets none: each poll leaves an entry on the event
    loop's timer for six hours.
    """

    _timer: Any = None

    def _set_timeout(self, msecs: int) -> None:
        if msecs == 0:  # at once; the stock client asks for that itself, and the timer stays
            self.hub.call_later(0, self._timeout_check)
            return
        if self._timer is not None:
            self._timer.cancel()
        waits = msecs > 0  # -1: no timer
        self._timer = self.hub.call_later(msecs / 1000, self._timeout_check) if waits else None


def get_client() -> TimelyClient:
    """The event loop's HTTP client; it ends with the loop (`kombu.asynchronous.http`)."""
    hub: Any = get_event_loop()
    client = getattr(hub, "_current_http_client", None)
    if not isinstance(client, TimelyClient):
        client = hub._current_http_client = TimelyClient(hub)
    return client


class BoundedConnection(_StockHttp):  # type: ignore[misc]  # see _StockHttp
    """An HTTP connection that gives up: kombu hands its timeouts to nobody."""

    connect_timeout_s = 5.0
    answer_timeout_s = 25.0

    def getrequest(self) -> Any:
        """The request, with both timeouts put on the curl handle that will run it."""
        request = super().getrequest()
        request.on_prepare = self._prepare
        return request

    def _prepare(self, curl: Any) -> None:
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(self.connect_timeout_s * 1000))
        curl.setopt(pycurl.TIMEOUT_MS, int(self.answer_timeout_s * 1000))


class PollingConnection(_StockConnection):  # type: ignore[misc]  # see _StockConnection
    """ReceiveMessage whose every outcome reaches the caller: an answer or a `Failure`."""

    def __init__(self, *args: Any, answer_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answer_timeout_s = answer_timeout_s

    def get_http_connection(self) -> BoundedConnection:
        """A connection that answers or fails within the time given."""
        connection = BoundedConnection(http_client=self._httpclient)
        connection.answer_timeout_s = self._answer_timeout_s
        return connection

    def _on_list_ready(self, parent: Any, markers: Any, operation: str, response: Any) -> Any:
        if response.status != self.STATUS_CODE_OK:
            return Failure(_describe(response))
        try:
            return super()._on_list_ready(parent, markers, operation, response)
        except Exception as error:  # noqa: BLE001  # whatever stands in a broken answer
            return Failure(f"an answer that cannot be read ({type(error).__name__})")


def _describe(response: Any) -> str:
    error = response.response.error
    if getattr(error, "errno", None):  # libcurl's own: no answer came
        return f"{error.message} (curl {error.errno})"
    return f"HTTP {response.status}{_error_type(response.read())}"


def _error_type(body: bytes | None) -> str:
    try:
        fields = json.loads(body or b"")
    except (ValueError, RecursionError):
        return ""
    kind = fields.get("__type") if isinstance(fields, dict) else None
    return f" {kind.rpartition('#')[2]:.80}" if isinstance(kind, str) else ""
