"""Cores of its own for one process, the other half of the machine's for all else that a run starts.

Halves are by the cores' numbers: two hardware threads of one core may be in either.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def find_halves() -> tuple[set[int], set[int]] | None:
    """The cores that this process may use, in two halves, the second the larger if they are odd.

    None with one core, and where a process cannot be held on some of them (macOS).
    """
    if sys.platform != "linux":
        return None
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    return (set(cores[:half]), set(cores[half:])) if half else None


@contextmanager
def keep_apart(pid: int, own: set[int], rest: set[int]) -> Iterator[None]:
    """Hold a process that this one has started on `own`; this one, and all else that it has
    started, on `rest`.

    Afterwards, also after an error, each thread may use what it might before; one made meanwhile
    what its process's first thread might, and of a process made meanwhile what this one's might.
    """
    if sys.platform != "linux":
        raise NotImplementedError("threads are held on cores on Linux alone")
    before: dict[int, set[int]] = {}

    def place(choose: Callable[[int, int], set[int]]) -> None:
        # A new thread inherits from the one that makes it, which may not have had its turn yet: so
        # all of them twice.
        for _ in range(2):
            for process, thread in _list_threads():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, choose(process, thread))

    for _, thread in _list_threads():
        with suppress(ProcessLookupError):
            before[thread] = os.sched_getaffinity(thread)
    try:
        place(lambda process, _: own if process == pid else rest)
        yield
    finally:
        place(lambda process, thread: before.get(thread, before.get(process, before[os.getpid()])))


def _list_threads() -> list[tuple[int, int]]:
    """Process and thread ids of this process and of all that it has started and that still run."""
    found: list[tuple[int, int]] = []
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(FileNotFoundError, ProcessLookupError):
            tasks = Path(f"/proc/{process.pid}/task").iterdir()
            found += [(process.pid, int(task.name)) for task in tasks]
    return found
