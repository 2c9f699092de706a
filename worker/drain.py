"""The end of a drain, within a stated time.

Stock Celery either waits for tasks for as long as they take, or (soft shutdown) sleeps its whole
timeout even when they end early. This waits for them, and gives back what is late.
"""

import logging
import os
import signal
import threading
import time
from typing import Any, Final

from celery import bootsteps

from worker.transport import AWS_ERRORS, describe

log = logging.getLogger(__name__)

LATE: Final = 0
"""Exit code of a drain that was cut: what was late is back in the queue, so nothing is wrong."""

RETURN_S: Final = 5.0
"""Time to give messages back in, after the drain's own."""


class DrainStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Starts the clock when the worker begins to shut down."""

    name = "worker.drain.DrainStep"
    requires = ("celery.worker.consumer.tasks:Tasks",)
    seconds = 25.0

    @classmethod
    def within(cls, seconds: float) -> type["DrainStep"]:
        """The step with this much time."""
        return type("DrainStep", (cls,), {"seconds": seconds})

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._channel: Any = None

    def start(self, consumer: Any) -> None:
        """Called for each connection."""
        self._channel = consumer.task_consumer.channel

    def stop(self, consumer: Any) -> None:
        """The drain goes on."""

    def close(self, consumer: Any) -> None:
        """The shutdown begins."""
        log.info("draining: tasks in work have %g s to end", self.seconds)
        clock = threading.Timer(self.seconds, end_late, (consumer, self._channel))
        clock.daemon = True
        clock.start()


def end_late(consumer: Any, channel: Any) -> None:
    """Kill the children, make their messages visible to others, and end the process."""
    late = channel.qos.held() if channel is not None else {}
    log.warning("the drain is cut short: %d messages go back to the queue", len(late))
    kill_children(consumer)
    give_back(channel, list(late.values()))
    end_process(LATE)


def kill_children(consumer: Any) -> None:
    """End the pool's processes. Elsewhere than on Linux they would outlive this one."""
    pool = getattr(consumer.pool, "_pool", None)
    for process in list(getattr(pool, "_pool", None) or ()):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def give_back(channel: Any, messages: list[Any]) -> None:
    """Make messages visible at once, as far as SQS answers within RETURN_S."""

    def show(message: Any) -> None:
        try:
            channel.set_visibility(message.delivery_info, 0)
        except AWS_ERRORS as error:
            log.warning("a message comes again only after its timeout: %s", describe(error))

    threads = [threading.Thread(target=show, args=(m,), daemon=True) for m in messages]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + RETURN_S
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))


def end_process(code: int) -> None:
    """End at once, from any thread, with the log written out."""
    logging.shutdown()
    os._exit(code)
