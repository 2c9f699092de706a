"""Units of a job, worked on by threads, until all are done, one fails, or a person says stop."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final

from console.errors import InterruptedByUserError

MOST_THREADS: Final = 32
"""More make one process of Python no faster: let several hosts or processes share the units."""


def run_units(
    units: Iterable[str],
    work: Callable[[str], None],
    stop: threading.Event,
    threads: int = MOST_THREADS,
) -> None:
    """Work on every unit. Raises the first error, once the other threads have ended their step.

    stop: set by a signal, and by the first error; `work` raises InterruptedByUserError then.
    """
    names = list(units)
    if not names:
        return
    with ThreadPoolExecutor(max_workers=min(threads, len(names))) as pool:
        futures = [pool.submit(work, name) for name in names]
        pending: set[Future[None]] = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
            failed = any(not future.cancelled() and future.exception() for future in done)
            if failed or stop.is_set():
                stop.set()
                for future in pending:
                    future.cancel()
    errors = [f.exception() for f in futures if not f.cancelled() and f.exception() is not None]
    causes = [e for e in errors if not isinstance(e, InterruptedByUserError)]
    for error in [*causes, *errors]:
        if error is not None:
            raise error
    if stop.is_set():
        raise InterruptedByUserError("interrupted")
