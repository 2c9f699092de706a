"""`sluice valve`: what each worker's valve says, and an operator's word that opens them all."""

import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from console.deadletters.display import print_json, printable
from console.deadletters.sweep import interruptible
from console.help import write_epilog
from console.session import Session
from console.settings import CLUSTER
from console.status.words import write_time
from producer.contract import queue_name
from worker.clock import read_clock_ms
from worker.cluster import Cluster
from worker.state import STALE_MS, WorkerState, read_states, request_open

WAIT_S: Final = 30.0
"""Workers look for the word every few seconds."""

PATIENCE_S: Final = 15
"""Longest that one answer of the cluster is waited for."""

_PAUSE_S: Final = 1.0
_CODES: Final = "0 every valve is open, 1 one is not or no worker reports, 2 misuse"

queue_option = click.option(
    "--queue", metavar="NAME", help="The queue's name. Default: that of SLUICE_QUEUE_URL."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True, slots=True)
class Valves:
    """What each worker that reports says of its valve."""

    queue: str
    now_ms: int
    workers: tuple[WorkerState, ...]

    @property
    def are_open(self) -> bool:
        """Whether there are any, and all are open."""
        return bool(self.workers) and all(w.valve.state == "open" for w in self.workers)


@click.group(epilog=write_epilog("sluice valve show", "sluice valve open", codes=_CODES))
def command() -> None:
    """The valve, which stops a worker when too much is refused.

    It opens by itself after a trial that goes well. `open` is for whoever has mended the cause and
    does not want to wait.
    """


@command.command(epilog=write_epilog("sluice valve show --json", codes=_CODES))
@queue_option
@json_option
def show(*, queue: str | None, as_json: bool) -> int:
    """Show what each worker says of its valve."""
    session = _open_session(queue)
    name = queue or queue_name(session.settings.queue_url)
    valves = read_valves(session.cluster, name, read_clock_ms())
    _print(valves, as_json)
    return 0 if valves.are_open else 1


@command.command("open", epilog=write_epilog("sluice valve open", codes=_CODES))
@queue_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=WAIT_S,
    show_default=True,
    help="Seconds to wait until each worker has said that its valve is open.",
)
@json_option
def open_command(*, queue: str | None, wait_s: float, as_json: bool) -> int:
    """Open every valve at once, and tell what each worker then says.

    What was refused stays a dead letter. If the cause is not mended, the valve shuts again.
    """
    session = _open_session(queue)
    name = queue or queue_name(session.settings.queue_url)
    asked_ms = read_clock_ms()
    request_open(session.cluster, name, asked_ms, _name_operator())
    with interruptible() as stop:
        valves = wait_for_workers(
            lambda: read_valves(session.cluster, name, read_clock_ms()), wait_s, stop
        )
    _print(valves, as_json)
    return 0 if valves.are_open else 1


def read_valves(cluster: Cluster, queue: str, now_ms: int) -> Valves:
    """What the workers that still report say. Raises UnavailableError."""
    states = read_states(cluster, queue)
    return Valves(queue, now_ms, tuple(s for s in states if now_ms - s.at <= STALE_MS))


def wait_for_workers(
    ask: Callable[[], Valves],
    wait_s: float,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Valves:
    """Until every valve is open, or `wait_s` seconds are over; the last answer."""
    deadline = clock() + wait_s
    while True:
        valves = ask()
        if valves.are_open or clock() >= deadline or stop.wait(_PAUSE_S):
            return valves


def write_valves(valves: Valves) -> Sequence[str]:
    """A line for each worker."""
    if not valves.workers:
        return (f"No worker of {valves.queue} reports; a worker starts with its valve open.",)
    return tuple(_write_worker(worker) for worker in valves.workers)


def _write_worker(worker: WorkerState) -> str:
    valve = worker.valve
    if valve.state == "open":
        return f"{worker.worker}: open"
    trial = f", trial at {write_time(valve.trial_at)}" if valve.trial_at else ""
    why = f": {valve.why}" if valve.why else ""
    return f"{worker.worker}: {valve.state} since {write_time(valve.since)}{trial}{why}"


def describe(valves: Valves) -> dict[str, Any]:
    """For programs. Times in milliseconds since the epoch."""
    workers = [
        {"worker": worker.worker, "at": worker.at, **asdict(worker.valve)}
        for worker in valves.workers
    ]
    return {"queue": valves.queue, "open": valves.are_open, "workers": workers}


def _print(valves: Valves, as_json: bool) -> None:
    if as_json:
        print_json(describe(valves))
        return
    for line in write_valves(valves):
        click.echo(printable(line))


def _open_session(queue: str | None) -> Session:
    needed = CLUSTER | (set() if queue else {"SLUICE_QUEUE_URL"})
    return Session(os.environ, needed=needed, patience_s=PATIENCE_S)


def _name_operator() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
