"""The edge to Elasticsearch: connect, ask, and name what went wrong by what happens next.

The one module that imports elasticsearch. It uses only what servers 8 and 9 and the embedded
engine of the demo share, so it asks in plain JSON instead of the client's versioned media types.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from elastic_transport import (
    HttpHeaders,
    OrjsonSerializer,
    TransportError,
    Urllib3HttpNode,
)
from elastic_transport._node import NodeApiResponse
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import Elasticsearch, UnsupportedProductError

from worker.errors import (
    ConfigurationError,
    DeniedError,
    UnansweredError,
    UnavailableError,
)
from worker.overtime import awaited

_ANY_STATUS: Final = tuple(range(300, 600))
_AWAY: Final = frozenset({401, 403, 408, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that speaks of the request, not of the cluster's health."""

    status: int
    body: Any

    @property
    def error(self) -> str:
        """The cluster's error type, if it named one."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return str(error.get("type", "")) if isinstance(error, dict) else str(error or "")

    @property
    def reason(self) -> str:
        """The cluster's words, if it had any."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return str(error.get("reason", "")) if isinstance(error, dict) else str(self.body)


class Cluster:
    """One connection pool to one cluster. Not to be shared across a fork."""

    def __init__(self, client: Elasticsearch) -> None:
        self._client = client

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        lines: bytes | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Ask once. body: JSON; lines: newline-delimited JSON, ready for the wire.

        Raises UnansweredError when there is no answer; UnavailableError when it says nothing of
        this request: too busy, broken; DeniedError when it says that we have no rights.
        """
        headers = {"accept": "application/json"}
        if lines is not None:
            headers["content-type"] = "application/x-ndjson"
        elif body is not None:
            headers["content-type"] = "application/json"
        client = (
            self._client if timeout_s is None else self._client.options(request_timeout=timeout_s)
        )
        try:
            with awaited("Elasticsearch"):
                response = client.perform_request(
                    method,
                    path,
                    params=params,
                    headers=headers,
                    body=body if lines is None else lines,
                )
        except UnsupportedProductError as error:
            raise DeniedError(
                "the server at SLUICE_ELASTICSEARCH_URL is not Elasticsearch",
                hint="check the address; OpenSearch is not supported",
            ) from error
        except TransportError as error:
            raise UnansweredError(
                f"Elasticsearch does not answer: {type(error).__name__}: {error.message!s:.300}",
                hint="check SLUICE_ELASTICSEARCH_URL, and whether the cluster runs",
            ) from error
        answer = Answer(response.meta.status, response.body)
        if answer.status in _AWAY or answer.status >= 500:
            kind = DeniedError if answer.status in _HINTS else UnavailableError
            raise kind(
                f"Elasticsearch answered {answer.status} to {method} {path}:"
                f" {answer.error} {answer.reason:.300}",
                hint=_HINTS.get(answer.status, ""),
            )
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


_HINTS: Final[Mapping[int, str]] = {
    401: "check SLUICE_ELASTICSEARCH_API_KEY",
    403: "the API key lacks a privilege on this index, or the index is blocked for writing",
}


def connect(
    url: str, *, api_key: str | None = None, ca_certs: str | None = None, timeout_s: float = 60.0
) -> Cluster:
    """A cluster's connection pool. Connects at the first request.

    TLS certificates are verified, against `ca_certs` (a file) where it is given. Nothing is
    retried here: what to do after a failure is decided where it is known what the request was.
    Raises ConfigurationError if that file cannot be read.
    """
    options: dict[str, Any] = {"api_key": api_key} if api_key else {}
    if url.startswith("https:"):
        options["ssl_context"] = _read_authorities(ca_certs)
    return Cluster(
        Elasticsearch(
            url,
            node_class=_PlainJsonNode,
            serializers={"application/json": OrjsonSerializer()},
            request_timeout=timeout_s,
            max_retries=0,
            retry_on_timeout=False,
            connections_per_node=4,
            **options,
        ).options(ignore_status=_ANY_STATUS)
    )


def _read_authorities(file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"SLUICE_ELASTICSEARCH_CA_CERTS: cannot read {file!r}: {error}",
            hint="name a file of certificates in PEM form that this process may read",
        ) from error


def path(*parts: str) -> str:
    """A request path of these parts, each escaped."""
    return "/" + "/".join(quote(part, safe="_,*") for part in parts)


class _PlainJsonNode(Urllib3HttpNode):
    """Sends `application/json` where the client would send its versioned media type."""

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        plain = HttpHeaders(headers or {})
        for name in ("accept", "content-type"):
            value = plain.get(name)
            if value and "ndjson" in value:
                plain[name] = "application/x-ndjson"
            elif value and "json" in value:
                plain[name] = "application/json"
        return super().perform_request(method, target, body, plain, request_timeout)
