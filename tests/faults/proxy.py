"""A proxy between a worker and a server that breaks what passes through it, as told.

It speaks HTTP/1.1, for Elasticsearch and for SQS, so that it can tell a request that was never sent
from one whose answer was lost. It listens on loopback only.
"""

import http.client
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal
from urllib.parse import urlsplit

Kind = Literal["hang", "reset", "reset after", "delay", "status", "partial"]

_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to requests.

    - hang: the request is taken and never answered;
    - reset: the connection is reset, the server never hears of it;
    - reset after: the server carries it out, its answer is lost;
    - delay: it waits `seconds`, then passes;
    - status: it is answered with `status`, the server never hears of it;
    - partial: of a _bulk, every second item is answered with `status` and never sent on; or, if
      `ids` is given, each item whose id holds that regular expression.
    """

    kind: Kind
    status: int = 503
    seconds: float = 0.0
    path: str = ""
    """Only requests whose path, or operation of AWS, holds this regular expression; others pass."""
    ids: str = ""

    def hits(self, path: str) -> bool:
        return re.search(self.path, path) is not None

    def refuses(self, place: int, action: bytes) -> bool:
        """Whether a partial fault hits the item at this place of a _bulk."""
        if not self.ids:
            return place % 2 == 0
        ((_, fields),) = json.loads(action).items()
        return re.search(self.ids, fields["_id"]) is not None


class Proxy:
    """The proxy. Use `proxying`."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.seen: Counter[str] = Counter()
        """Requests by the fault that they met, or `pass`; and by their method."""
        self._fault: Fault | None = None
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def set(self, fault: Fault | None) -> None:
        """From now on break requests so; None: let them pass."""
        self._fault = fault

    def fault(self, path: str) -> Fault | None:
        """What a request of this path meets now."""
        fault = self._fault
        return fault if fault is not None and fault.hits(path) else None

    def close(self) -> None:
        """Refuse connections, and cut those that are there."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Take connections, on the same port as ever."""
        server = _Server(("127.0.0.1", self._port), _handler(self))
        self._port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody listens for as long as the context lasts."""
        self.close()
        try:
            yield
        finally:
            self.open()

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """Requests meet the fault for as long as the context lasts."""
        self.set(fault)
        try:
            yield
        finally:
            self.set(None)

    def flap(self, seconds: float, every_s: float) -> None:
        """Go down and up in turn for so long, each for `every_s`; up at the end."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.down():
                time.sleep(every_s)
            time.sleep(every_s)

    def wait_for_end(self) -> None:
        self._ended.wait(600)

    def end(self) -> None:
        self._ended.set()
        self.close()

    @contextmanager
    def tracked(self, one: socket.socket) -> Iterator[None]:
        with self._lock:
            self._sockets.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(one)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, killed perhaps: no news here."""


@contextmanager
def proxying(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of a server."""
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.end()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle(self) -> None:
            with proxy.tracked(self.connection), suppress(OSError):
                super().handle()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault(f"{self.path} {self.headers.get('X-Amz-Target', '')}")
            proxy.seen[fault.kind if fault else "pass"] += 1
            proxy.seen[str(self.command)] += 1
            answer = self.meet(fault, body)
            if answer is None:
                reset(self.connection)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def meet(self, fault: Fault | None, body: bytes) -> Answer | None:
            """The answer under a fault; None: none at all."""
            match fault and fault.kind:
                case "hang":
                    proxy.wait_for_end()
                    return None
                case "reset":
                    return None
                case "reset after":
                    self.forward(body)
                    return None
                case "delay":
                    assert fault
                    time.sleep(fault.seconds)
                case "status":
                    assert fault
                    return refusal(fault.status)
                case "partial" if "_bulk" in self.path:
                    assert fault
                    return self.split(fault, body)
            return self.forward(body)

        def forward(self, body: bytes) -> Answer:
            host, port = proxy.upstream.hostname, proxy.upstream.port
            upstream = http.client.HTTPConnection(str(host), port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            try:
                upstream.request(self.command, self.path, body or None, headers)
                answer = upstream.getresponse()
                return Answer(answer.status, answer.getheaders(), answer.read())
            finally:
                upstream.close()

        def split(self, fault: Fault, body: bytes) -> Answer:
            """Refuse some items, send the others on, and make one answer of both."""
            lines = body.splitlines(keepends=True)
            items = [lines[place : place + 2] for place in range(0, len(lines), 2)]
            refused = [fault.refuses(place, item[0]) for place, item in enumerate(items)]
            kept = b"".join(
                b"".join(item) for item, no in zip(items, refused, strict=True) if not no
            )
            answer = self.forward(kept) if kept else refusal(200)
            if answer.status != 200:
                return answer
            fields = json.loads(answer.body)
            done = iter(fields.get("items", []))
            fields |= {"took": 1, "errors": True, "items": []}
            for item, no in zip(items, refused, strict=True):
                fields["items"].append(refuse_item(item, fault.status) if no else next(done))
            return Answer(200, answer.headers, json.dumps(fields).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """The worker's log tells enough."""

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the base's names

    return Handler


def refusal(status: int) -> Answer:
    """A cluster's or a load balancer's answer in trouble."""
    kind = "es_rejected_execution_exception" if status == 429 else "unavailable"
    body = {"error": {"type": kind, "reason": "by the proxy"}, "status": status}
    headers = [("Content-Type", "application/json"), ("X-elastic-product", "Elasticsearch")]
    return Answer(status, headers, json.dumps(body).encode())


def refuse_item(item: list[bytes], status: int) -> dict[str, Any]:
    ((action, fields),) = json.loads(item[0]).items()
    kinds = {429: "es_rejected_execution_exception", 400: "mapper_parsing_exception"}
    kind = kinds.get(status, "unavailable_shards_exception")
    error = {"type": kind, "reason": "by the proxy"}
    return {action: {"_id": fields["_id"], "status": status, "error": error}}


def reset(connection: socket.socket) -> None:
    """End a connection the rude way: RST instead of FIN."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The server's own end shuts down politely first: this leaves it nothing to shut.
        socket.socket(fileno=connection.detach()).close()
