"""A server that runs beside this process, and never longer than it."""

import http.client
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"
START_DEADLINE_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05
LOG_LINES = 15
# Below every system's ephemeral range (Linux: 32768 up, macOS and Windows: 49152 up): an outgoing
# connection of some other process can never take a port between its choice and its use, nor
# between the kill of a server and its restart on the same port.
PORTS = range(15_000, 32_000)
PORT_TRIES = 5
ADDRESS_IN_USE = b"address already in use"
TETHER = Path(__file__).with_name("tether.py")
# A server started here must not see the accounts and settings of whoever starts it.
PRIVATE_PREFIXES = ("AWS_", "MOTO_", "SLUICE_")


class ServiceError(Exception):
    """A local service cannot be used; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\n{hint}")
        self.hint = hint


class ServiceMissingError(ServiceError):
    """What the service is made of is not installed here: install it, then try again."""


class ServiceFailedError(ServiceError):
    """The service ended, or did not answer in time; the message ends with its last log lines."""


class PortTakenError(ServiceFailedError):
    """Another process has the port of the service: try again with another one."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running server: its name, base URL, process id and log file.

    As a context manager it stops the server at the end. The server has a process group of its own,
    so Ctrl-C in a terminal reaches only the owner, which then stops its services in order.
    """

    name: str
    url: str
    pid: int
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    def is_running(self) -> bool:
        """Whether the server's process has not ended."""
        return self.process.poll() is None

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Ask the server to end, kill it after `timeout` seconds. Stopping twice does no harm."""
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._release()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        self.process.kill()
        self._release()

    def _release(self) -> None:
        self.process.wait()
        # The watcher leaves when the pipe closes. Its id is not ours to signal: once the server is
        # reaped, another process may have it.
        if self.process.stdin is not None:
            self.process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def find_free_port() -> int:
    """A loopback port of PORTS that was free a moment ago, a random one.

    Raises ServiceFailedError when none is free.
    """
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        with socket.socket() as probe:
            # A server that was killed leaves connections in TIME_WAIT, which hinder no listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise ServiceFailedError(
        f"No port from {PORTS.start} to {PORTS.stop - 1} is free on {HOST}.",
        "End what listens there, then try again.",
    )


def answers(url: str, status: int = 200, timeout: float = 2.0) -> bool:
    """Whether a GET of `url` is answered with `status`, with no proxy between."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or HOST, parts.port, timeout=timeout)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}")
        return connection.getresponse().status == status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def read_last_lines(log: Path, count: int = LOG_LINES) -> str:
    """The last `count` lines of a log file, empty if there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def build_environment(source: Mapping[str, str]) -> dict[str, str]:
    """The environment a service gets: `source` without what is private to its owner."""
    return {name: value for name, value in source.items() if not name.startswith(PRIVATE_PREFIXES)}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start a server: its command for a port, and what it answers once it is ready."""

    name: str
    command: Callable[[int], Sequence[str]]
    ready_path: str
    ready_status: int = 200
    deadline_s: float = START_DEADLINE_S


def start(recipe: Recipe, directory: Path, port: int | None = None) -> Service:
    """Start a server, its log in `directory`, and return it once it answers.

    `port` None means any free one. Raises PortTakenError when another process has the port, else
    ServiceFailedError when it ends or stays silent.
    """
    if port is not None:
        return _start_once(recipe, directory, port)
    for _ in range(PORT_TRIES - 1):
        try:
            return _start_once(recipe, directory, find_free_port())
        except PortTakenError:
            # Between finding the port and binding it another process has taken it.
            continue
    return _start_once(recipe, directory, find_free_port())


def _start_once(recipe: Recipe, directory: Path, port: int) -> Service:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{recipe.name}.log"
    before = log.stat().st_size if log.exists() else 0
    service = _spawn(recipe, log, port)
    try:
        _wait_until_ready(service, recipe, before)
    except BaseException:
        service.kill()
        raise
    return service


def _spawn(recipe: Recipe, log: Path, port: int) -> Service:
    tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*tether, *recipe.command(port)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=build_environment(os.environ),
            start_new_session=True,
        )
    return Service(recipe.name, f"http://{HOST}:{port}", process.pid, log, process)


def _wait_until_ready(service: Service, recipe: Recipe, before: int) -> None:
    deadline = time.monotonic() + recipe.deadline_s
    while time.monotonic() < deadline:
        ended = not service.is_running()
        # Looked for in all it wrote, since a long stack trace follows it; and while it runs, since
        # not every server ends for it, and whoever has the port may answer in its place.
        if ADDRESS_IN_USE in service.log.read_bytes()[before:].lower():
            raise _describe_failure(service, "found its port taken", PortTakenError)
        if ended:
            raise _describe_failure(
                service, f"ended at its start with status {service.process.returncode}"
            )
        if answers(service.url + recipe.ready_path, recipe.ready_status):
            return
        time.sleep(POLL_S)
    raise _describe_failure(service, f"did not answer within {recipe.deadline_s:.0f} s")


def _describe_failure(
    service: Service, what: str, kind: type[ServiceFailedError] = ServiceFailedError
) -> ServiceFailedError:
    return kind(
        f"{service.name} {what}. The last lines of its log:\n{read_last_lines(service.log)}",
        f"The whole log: {service.log}",
    )
