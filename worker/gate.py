"""Takes no messages while what the worker writes to is away, and spends no receipt on waiting.

A task that ends by UnavailableError keeps its message: the main process holds on to it (the
heartbeat keeps it hidden) and runs it again itself, as the trial that ends the pause. Given back
to SQS instead, each try would cost a receipt, and `maxReceiveCount` of them would move a message
that nothing is wrong with to the dead-letter queue.

Before each trial the probe is asked, so that none hangs in a cluster that does not answer. Where a
trial fails although the probe finds all well before and after, it is that message alone: it is set
aside (`worker.aside`), and the others go on. Once every slot of the worker holds such a message,
none is taken any more: an outage like any other.
"""

import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker.state import task_reserved

from worker.aside import Aside
from worker.breaker import Breaker
from worker.errors import ContentionError, UnavailableError
from worker.fate import Fate
from worker.inquiry import Inquiry, Probe, Standing, in_thread
from worker.ledger import Ledger
from worker.line import Line
from worker.tasks import TaskFailedError
from worker.valve import Limits

log = logging.getLogger(__name__)


class BreakerGate:
    """A `worker.transport.Gate` for one consumer. Lives on the main process's event loop."""

    def __init__(
        self,
        consumer: Any,
        probe: Probe | None = None,
        line: Line | None = None,
        ledger: Ledger | None = None,
        begin: Callable[[Probe], "Future[Standing]"] = in_thread,
    ) -> None:
        self._consumer = consumer
        self._line = line or Line(Limits())
        self._ledger = ledger or Ledger()
        self._inquiry = Inquiry(consumer.timer, probe, begin)
        self._kept: list[Any] = []
        self._aside = Aside(consumer.timer, self._retry)
        self._trial: Any = None
        """The kept request that runs now, to find out; and how all stood as it began."""
        self._standing: Standing = "refusing"
        self.breaker = Breaker()

    def limit(self) -> int | None:
        """Nothing while the breaker is shut or in trial, else what the valve lets through."""
        allowed = self._line.limit()
        return allowed if self.breaker.state == "open" else 0

    def waiting(self) -> int:
        """How many requests are held and not in work."""
        return len(self._kept) + self._aside.waiting()

    def keep(self, request: Any, error: BaseException) -> bool:
        """Whether to hold on to a failed request: it met an outage, or others in its way."""
        self._ledger.failed()
        if not isinstance(error, UnavailableError):
            self._line.counted(0, 1, {name_of(error): 1})  # how many changes, nobody knows
            self.answered(request)
            return False
        if request in self._aside:
            self._aside.put(request)
        elif isinstance(error, ContentionError):
            self._put_aside(request, error)
        else:
            self._hold(request, error)
        return True

    def answered(self, request: Any) -> None:
        """A task ended otherwise. Everything held back runs now."""
        was_aside = self._aside.take(request)
        self._open()
        if was_aside:
            self._aside.run_all()

    def counted(self, fate: Fate) -> None:
        """What became of a message's changes, for the valve and the metrics."""
        self._ledger.ended(fate)
        self._line.counted(fate.done, fate.refused, fate.classes)

    def open(self, word: str) -> None:
        """An operator's word to the valve. For any thread."""
        self._line.open(word)

    def status(self) -> dict[str, object]:
        """For people: why messages are taken, or not."""
        return {
            "breaker": "shut" if self._is_full() else self.breaker.state,
            "failed_trials": self.breaker.failures,
            "valve": self._line.valve.state,
            "valve_since": self._line.since_ms,
            "valve_trial_at": self._line.trial_at_ms(),
            "valve_why": self._line.valve.why,
            "held": self.waiting(),
            "aside": len(self._aside),
        }

    def _hold(self, request: Any, error: BaseException) -> None:
        self._kept.append(request)
        if request is self._trial and self._standing == "well":
            self._inquiry.ask(partial(self._judge, request, error))
        elif request is self._trial or self.breaker.state == "open":
            self._failed(error)

    def _judge(self, request: Any, error: BaseException, standing: Standing) -> None:
        """A trial failed while all was well: the cluster went away since, or it is the message."""
        if self._trial is not request:
            return  # another task ended well meanwhile, and all that were kept run
        if standing == "well":
            self._kept.remove(request)
            self._put_aside(request, error)
        else:
            self._failed(error)

    def _put_aside(self, request: Any, error: BaseException) -> None:
        log.warning("task %s[%s] is set aside: %s", request.name, request.id, error)
        self._aside.put(request)
        if self._is_full():
            log.warning("taking no messages: all that this worker may have in work are set aside")
        self._open()

    def _failed(self, error: BaseException | str) -> None:
        self._trial = None
        before = self.breaker
        self.breaker = before.failed(time.monotonic(), random.random())  # noqa: S311  # spreads load
        if before.state == "open":
            log.warning("taking no messages until it answers again: %s", error)
        wait = self.breaker.trial_at - time.monotonic()
        self._consumer.timer.call_after(max(wait, 0), self._try)

    def _open(self) -> None:
        if self.breaker.state != "open":
            log.warning("it answers again, after %d failed trials", self.breaker.failures)
        self._trial = None
        self.breaker = self.breaker.answered()
        kept, self._kept = self._kept, []
        for request in kept:
            self._run(request)

    def _try(self) -> None:
        if self.breaker.state == "shut":
            self.breaker = self.breaker.tried()
            self._inquiry.ask(self._begin_trial)

    def _begin_trial(self, standing: Standing) -> None:
        if self.breaker.state != "trial" or self._trial is not None:
            return  # a task ended well meanwhile
        if standing == "silent":
            self._failed("no answer")
            return
        self._standing = standing
        self._trial = self._kept.pop(0)
        self._run(self._trial)

    def _retry(self, request: Any) -> None:
        self._inquiry.ask(partial(self._begin_retry, request))

    def _begin_retry(self, request: Any, standing: Standing) -> None:
        if standing == "silent" or self.breaker.state != "open":
            self._aside.put(request)
        else:
            self._run(request)

    def _is_full(self) -> bool:
        return len(self._aside) >= int(self._consumer.initial_prefetch_count)

    def _run(self, request: Any) -> None:
        task_reserved(request)
        self._consumer.on_task_request(request)


class GateStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Puts a gate on the consumer's channel, anew after a reconnect; the valve outlives that."""

    name = "worker.gate.GateStep"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    probe: Probe | None = None
    limits = Limits()
    ledger: Ledger | None = None

    @classmethod
    def asking(cls, probe: Probe | None, limits: Limits, ledger: Ledger) -> type["GateStep"]:
        """The step with this probe, these limits of the valve, and this ledger to write into."""
        values = {"probe": staticmethod(probe) if probe else None, "limits": limits}
        return type("GateStep", (cls,), {**values, "ledger": ledger})

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._line = Line(self.limits)

    def start(self, consumer: Any) -> None:
        """Called once the channel exists, before the first poll."""
        self._line.listen()
        consumer.task_consumer.channel.gate = BreakerGate(
            consumer, self.probe, self._line, self.ledger
        )


def name_of(error: BaseException) -> str:
    """The error class of a failed task: what failed in the child, if it could say so."""
    return str(error) if isinstance(error, TaskFailedError) else type(error).__name__
