"""Runs an owner's function, plain or async, and cuts it when its time is over.

On the main thread a plain function is cut by SIGALRM, which reaches it inside a system call too. On
another thread, where there is no such signal, it is cut between two steps of Python; one that hangs
in a system call is left behind with its thread. An async function is cancelled where it awaits; one
that blocks instead holds up its own event loop, which is left behind, and nobody else's.
"""

import asyncio
import ctypes
import inspect
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

GRACE_S: Final = 1.0
"""What a cut or cancelled function may still take to end."""


class TimeLimitExceeded(Exception):  # noqa: N818 - the name goes into dead letters as their error
    """The function did not end in its time."""


class ExitedError(Exception):
    """The function wanted to end the process."""


class _CutError(BaseException):
    """Raised inside a function whose time is over: no `except Exception` of the owner holds it."""


class Work(NamedTuple):
    """A function to run, and in which time."""

    function: Callable[..., object]
    arguments: Sequence[Any]
    limit_s: float
    home: str = ""
    """Work of one home shares an event loop, which lives on, so that it may keep clients."""


@dataclass(slots=True)
class Runner:
    """Runs functions for one process."""

    _loops: dict[str, asyncio.AbstractEventLoop] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, work: Work) -> None:
        """Call, and await what is awaitable. Raises what it raises; TimeLimitExceeded."""
        if threading.current_thread() is not threading.main_thread():
            self._run_beside(work)
            return
        with cut_after(work.limit_s), _staying():
            answer = work.function(*work.arguments)
        if inspect.isawaitable(answer):
            self._await(answer, work)

    def run_all(self, works: Sequence[Work]) -> list[Exception | None]:
        """Call all at once; what each raised, in order."""
        outcomes: list[Exception | None] = [None] * len(works)

        def call(place: int) -> None:
            try:
                self._run_beside(works[place])
            except Exception as error:  # noqa: BLE001 - the caller gets it
                outcomes[place] = error

        threads = [
            threading.Thread(target=call, args=(place,), daemon=True) for place in range(len(works))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    def close(self) -> None:
        """End the event loops."""
        with self._lock:
            loops, self._loops = self._loops, {}
        for loop in loops.values():
            loop.call_soon_threadsafe(loop.stop)

    def _run_beside(self, work: Work) -> None:
        done: Future[object] = Future()

        def call() -> None:
            try:
                with _staying():
                    done.set_result(work.function(*work.arguments))
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                done.set_exception(error)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        try:
            answer = done.result(work.limit_s)
        except TimeoutError:
            if done.done():
                raise
            _cut_thread(thread)
            raise TimeLimitExceeded(f"did not end in {work.limit_s:g} s") from None
        if inspect.isawaitable(answer):
            self._await(answer, work)

    def _await(self, awaitable: Awaitable[object], work: Work) -> None:
        loop = self._get_loop(work.home)
        future = asyncio.run_coroutine_threadsafe(_limited(awaitable, work.limit_s), loop)
        try:
            future.result(work.limit_s + GRACE_S)
        except CancelledError:
            raise TimeLimitExceeded("was cancelled") from None
        except TimeoutError:
            if future.done():
                raise
            self._leave(work.home, loop)
            raise TimeLimitExceeded(
                f"did not end in {work.limit_s:g} s, and does not await either"
            ) from None

    def _get_loop(self, home: str) -> asyncio.AbstractEventLoop:
        with self._lock:
            if home not in self._loops:
                self._loops[home] = asyncio.new_event_loop()
                threading.Thread(target=_turn, args=(self._loops[home],), daemon=True).start()
            return self._loops[home]

    def _leave(self, home: str, loop: asyncio.AbstractEventLoop) -> None:
        """A loop that is blocked: nothing else would run there. It ends once it is free."""
        with self._lock:
            if self._loops.get(home) is loop:
                del self._loops[home]
        loop.call_soon_threadsafe(loop.stop)


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_cancel(asyncio.all_tasks(loop)))
        loop.close()


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _limited(awaitable: Awaitable[object], limit_s: float) -> None:
    timeout = asyncio.timeout(limit_s)
    try:
        async with timeout:
            with _staying():
                await awaitable
    except TimeoutError:
        if not timeout.expired():
            raise
        raise TimeLimitExceeded(f"did not end in {limit_s:g} s") from None


@contextmanager
def cut_after(limit_s: float) -> Iterator[None]:
    """Raise TimeLimitExceeded out of a block that takes longer. For the main thread alone."""
    before = signal.signal(signal.SIGALRM, _cut)
    try:
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _CutError:
        raise TimeLimitExceeded(f"did not end in {limit_s:g} s") from None
    finally:
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _staying() -> Iterator[None]:
    """An owner's `sys.exit` is a failure of its function, not the end of the process."""
    try:
        yield
    except SystemExit as error:
        raise ExitedError(f"called sys.exit({error.code!r:.80})") from error


def _cut(*_: object) -> None:
    raise _CutError


def _cut_thread(thread: threading.Thread) -> None:
    """Raise in a thread at its next step (CPython C API, PyThreadState_SetAsyncExc)."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_CutError)
        )
    thread.join(GRACE_S)
