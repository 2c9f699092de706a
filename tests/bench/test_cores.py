"""Cores set apart for one process, and everything as before afterwards."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from bench.cores import find_halves, keep_apart

pytestmark = pytest.mark.skipif(
    find_halves() is None, reason="one core, or a system that holds nothing on some"
)

# Three threads, and one more for each line read, made by a thread that is not the first.
PROGRAM = """
import sys, threading
def wait():
    threading.Event().wait()
def read():
    for _ in sys.stdin:
        threading.Thread(target=wait, daemon=True).start()
        print(flush=True)
threading.Thread(target=wait, daemon=True).start()
reading = threading.Thread(target=read)
reading.start()
print(flush=True)
reading.join()
"""


class Threaded:
    """A process with threads."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._wait()

    def add_thread(self) -> None:
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        self._wait()

    def _wait(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def threaded() -> Iterator[Threaded]:
    with ExitStack() as stack:
        made = Threaded()
        stack.callback(made.stop)
        yield made


def read_cores(pid: int) -> dict[int, frozenset[int]]:
    """Of each thread."""
    threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return {thread: frozenset(os.sched_getaffinity(thread)) for thread in threads}


def halves() -> tuple[set[int], set[int]]:
    found = find_halves()
    assert found is not None
    return found


@pytest.mark.parametrize("fails", [False, True])
def test_a_process_has_its_half_and_all_others_theirs_until_the_end_or_an_error(
    fails: bool,
) -> None:
    rest, own = halves()
    with threaded() as cluster, threaded() as queue:
        pids = [os.getpid(), cluster.process.pid, queue.process.pid]
        # A thread with cores of its own choice gets those back, not its process's.
        os.sched_setaffinity(max(read_cores(pids[1])), rest)
        before = {pid: read_cores(pid) for pid in pids}
        with suppress(ZeroDivisionError), keep_apart(pids[1], own, rest):
            cluster.add_thread()
            held = {pid: set(read_cores(pid).values()) for pid in pids}
            if fails:
                raise ZeroDivisionError
        after = {pid: read_cores(pid) for pid in pids}
    assert held == {
        pids[0]: {frozenset(rest)},
        pids[1]: {frozenset(own)},
        pids[2]: {frozenset(rest)},
    }
    assert len(after[pids[1]]) == len(before[pids[1]]) + 1
    made = (after[pids[1]].keys() - before[pids[1]].keys()).pop()
    assert after[pids[1]].pop(made) == before[pids[1]][pids[1]]
    assert after == before


def test_cores_that_are_not_there_leave_everything_as_it_was() -> None:
    rest, _ = halves()
    with threaded() as cluster:
        pids = [os.getpid(), cluster.process.pid]
        before = {pid: read_cores(pid) for pid in pids}
        with pytest.raises(OSError, match="Invalid argument"), keep_apart(pids[1], {8191}, rest):
            pass
        assert {pid: read_cores(pid) for pid in pids} == before


def test_a_process_that_ends_meanwhile_hinders_nothing() -> None:
    rest, own = halves()
    before = read_cores(os.getpid())
    with threaded() as cluster, keep_apart(cluster.process.pid, own, rest):
        cluster.stop()
    assert read_cores(os.getpid()) == before


@pytest.mark.parametrize(
    ("cores", "expected"),
    [({3}, None), ({0, 1}, ({0}, {1})), ({1, 4, 6}, ({1}, {4, 6}))],
)
def test_halves_are_of_the_cores_that_this_process_may_use(
    cores: set[int], expected: tuple[set[int], set[int]] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert find_halves() == expected
