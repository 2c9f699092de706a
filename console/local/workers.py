"""Worker processes that run beside this one, and never longer than it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console.local.process import TETHER

DRAIN_S: Final = 30.0
"""How long a worker that was asked to end may take."""

ROOT: Final = Path(__file__).parents[2]
"""Where the packages are, for a worker that runs from a source tree."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One `python -m worker`, the leader of a process group of its own, and its log."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    @property
    def pid(self) -> int:
        """Its process id, which is also the id of its group."""
        return self.process.pid

    def is_running(self) -> bool:
        """Whether its main process has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL it and its children, at whatever instruction they are."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


class Workers:
    """The worker processes of one environment. All are gone after `stop`."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        """environment: all that a worker gets. directory: where their logs go."""
        scratch = directory / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        # A worker that is killed leaves files behind: here they go with the logs.
        self._environment = {**environment, "TMPDIR": str(scratch)}
        self._directory = directory
        self._all: list[Worker] = []

    @property
    def running(self) -> list[Worker]:
        """Those that have not ended, oldest first."""
        return [worker for worker in self._all if worker.is_running()]

    @property
    def all(self) -> tuple[Worker, ...]:
        """Every worker that was started, oldest first."""
        return tuple(self._all)

    def start(self) -> Worker:
        """Start one more; it is ready when its log says so."""
        name = f"worker-{len(self._all) + 1}"
        log = self._directory / f"{name}.log"
        tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*tether, sys.executable, "-m", "worker"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        worker = Worker(name, log, process)
        self._all.append(worker)
        return worker

    def stop(self, timeout_s: float = DRAIN_S) -> None:
        """Ask all to drain, together; kill those that take longer."""
        for worker in self.running:
            worker.process.terminate()
        for worker in self._all:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout_s)
            worker.kill()

    def kill(self) -> None:
        """SIGKILL all of them."""
        for worker in self._all:
            worker.kill()
