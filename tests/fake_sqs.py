"""A small SQS over HTTP whose faults are scripted: what moto cannot do.

Speaks the AWS JSON protocol as far as kombu and boto3 use it here: ReceiveMessage (long polls),
DeleteMessage, ChangeMessageVisibility, SendMessage, GetQueueAttributes. One queue and its
dead-letter queue, which here only collects what is sent to it.
"""

import json
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias

Fault: TypeAlias = Literal[
    "200-html",
    "200-list",
    "400",
    "400-throttled",
    "403",
    "403-throttled",
    "429",
    "500",
    "503",
    "close",
    "empty",
    "hang",
    "reset",
]
ERRORS = {
    "400": "com.amazonaws.sqs#InvalidParameterValue",
    "400-throttled": "com.amazon.coral.availability#ThrottlingException",
    "403": "com.amazonaws.sqs#AccessDenied",
    "403-throttled": "com.amazonaws.sqs#RequestThrottled",
    "429": "com.amazonaws.sqs#TooManyRequests",
    "500": "com.amazonaws.sqs#InternalError",
    "503": "com.amazonaws.sqs#ServiceUnavailable",
}
"""Status, as the fault's name begins, and the type that the answer names."""


@dataclass
class Message:
    """A message in the queue."""

    body: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    sent_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    received: int = 0
    visible_at: float = 0.0
    receipt: str = ""


class FakeSqs:
    """The server. Use `running`."""

    def __init__(self, visibility_s: float = 30.0) -> None:
        self.visibility_s = visibility_s
        self.messages: list[Message] = []
        self.deleted: list[Message] = []
        self.dead: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.hidden: list[tuple[str, int]] = []
        """Each ChangeMessageVisibility: message id, seconds."""
        self._faults: dict[str, Fault] = {}
        self._change = threading.Condition()
        self._stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def queue_url(self) -> str:
        return f"{self.endpoint}/000000000000/main"

    @property
    def dead_url(self) -> str:
        return f"{self.endpoint}/000000000000/dead"

    def send(self, *bodies: str) -> list[Message]:
        """Put messages into the queue."""
        messages = [Message(body) for body in bodies]
        with self._change:
            self.messages += messages
            self._change.notify_all()
        return messages

    def fail(self, operation: str, fault: Fault | None) -> None:
        """From now on answer an operation so; None: answer it well again."""
        with self._change:
            self._faults.pop(operation, None)
            if fault is not None:
                self._faults[operation] = fault
            self._change.notify_all()

    def fault(self, operation: str) -> Fault | None:
        return self._faults.get(operation)

    def hang(self) -> None:
        """Say nothing, for as long as the server lives."""
        self._stopped.wait(120)

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a well-formed request; None if there is no such operation."""
        match operation:
            case "ReceiveMessage":
                return self._receive(request)
            case "DeleteMessage":
                return self._delete(request)
            case "ChangeMessageVisibility":
                return self._hide(request)
            case "SendMessage":
                with self._change:
                    self.dead.append(request)
                return {"MessageId": str(uuid.uuid4()), "MD5OfMessageBody": ""}
            case "GetQueueAttributes":
                values = {"RedrivePolicy": "{}", "VisibilityTimeout": f"{self.visibility_s:.0f}"}
                return {"Attributes": values | {"ApproximateNumberOfMessages": "0"}}
        return None

    def _visible(self) -> list[Message]:
        now = time.monotonic()
        return [m for m in self.messages if m.visible_at <= now]

    def _receive(self, request: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + request.get("WaitTimeSeconds", 0)
        with self._change:
            while not (ready := self._visible()) and (left := deadline - time.monotonic()) > 0:
                if self._faults.get("ReceiveMessage"):
                    break
                self._change.wait(min(left, 0.05))
            taken = ready[: request.get("MaxNumberOfMessages", 1)]
            for message in taken:
                message.received += 1
                message.receipt = uuid.uuid4().hex
                hidden = request.get("VisibilityTimeout", self.visibility_s)
                message.visible_at = time.monotonic() + hidden
        return {"Messages": [_as_answer(m) for m in taken]} if taken else {}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._change:
            for message in self.messages:
                if message.receipt == request["ReceiptHandle"]:
                    self.messages.remove(message)
                    self.deleted.append(message)
                    break
        return {}

    def _hide(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._change:
            for message in self.messages:
                if message.receipt == request["ReceiptHandle"]:
                    seconds = request["VisibilityTimeout"]
                    self.hidden.append((message.id, seconds))
                    message.visible_at = time.monotonic() + seconds
            self._change.notify_all()
        return {}

    @contextmanager
    def down(self) -> Iterator[None]:
        """Close the endpoint, and open it again on the same port."""
        host, port = self._server.server_address[:2]
        self._server.shutdown()
        self._server.server_close()
        self.fail("ReceiveMessage", "reset")  # for connections still open
        yield
        self.fail("ReceiveMessage", None)
        self._server = ThreadingHTTPServer((str(host), port), _handler(self))
        self._server.daemon_threads = True
        self.start()

    def start(self) -> None:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def running(visibility_s: float = 30.0) -> Iterator[FakeSqs]:
    """A fake SQS on a free port."""
    fake = FakeSqs(visibility_s)
    fake.start()
    try:
        yield fake
    finally:
        fake.stop()


def _as_answer(message: Message) -> dict[str, Any]:
    return {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "Attributes": {
            "ApproximateReceiveCount": str(message.received),
            "SentTimestamp": str(message.sent_ms),
        },
    }


def _handler(fake: FakeSqs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            request = json.loads(self.rfile.read(length) or b"{}")
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            fake.calls[operation] += 1
            fault = fake.fault(operation)
            if fault is not None and fault != "empty":
                self._misbehave(operation, fault)
                return
            answer = {} if fault == "empty" else fake.answer(operation, request)
            late = fake.fault(operation)  # set during a long poll
            if operation == "ReceiveMessage" and late not in (None, "empty"):
                self._misbehave(operation, late)
            elif answer is None:
                self._reply(400, b'{"__type":"com.amazonaws.sqs#UnsupportedOperation"}')
            else:
                self._reply(200, json.dumps(answer).encode())

        def _misbehave(self, operation: str, fault: Fault) -> None:
            if fault in ERRORS:
                body = {"__type": ERRORS[fault], "message": "scripted"}
                self._reply(int(fault[:3]), json.dumps(body).encode())
            elif fault == "200-html":
                self._reply(200, b"<html>login</html>")
            elif fault == "200-list":
                self._reply(200, b"[]")
            else:
                self._drop(fault)

        def _drop(self, fault: Fault) -> None:
            if fault == "hang":
                fake.hang()
            elif fault == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()

        def _reply(self, status: int, body: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                return

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    return Handler
