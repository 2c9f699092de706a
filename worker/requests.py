"""The life of a message in the worker's main process: deleted once nothing of it is left to do."""

import logging
from typing import Any

from celery.exceptions import WorkerLostError
from celery.worker.request import Request as CeleryRequest
from celery.worker.state import task_ready

from worker.deadletters import Tried
from worker.errors import SluiceError
from worker.fate import Fate, read_fate
from worker.losses import LostProcess, name_loss, write_body, write_letter
from worker.tasks import read_message

log = logging.getLogger(__name__)


class Request(CeleryRequest):  # type: ignore[misc]  # celery ships no types
    """A request whose every failure gives the message back to SQS.

    Stock Celery deletes on Ignore, on revocation and, without a redrive policy, on rejection; and
    a MemoryError in a task ends its main process (celery#10462). Here any exception, a lost
    child, and the hard time limit end in a rejection; our channel makes the message visible
    again after a while, or at its last attempt sends it to the dead letters (`worker.losses`). The
    channel's gate hears of every outcome.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Celery derives a class for each task (`create_request_cls`), whose `on_success` is its
        base's, copied for speed: it would hide ours."""
        super().__init_subclass__(**kwargs)
        if "on_success" in vars(cls):
            del cls.on_success

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Give the message back, keep it for the end of an outage, or dead-letter it.

        Celery calls this for whatever a task raised or died of.
        """
        task_ready(self)
        if self._already_cancelled:
            return  # a shutdown killed its child; the channel gives the message back as it closes
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, WorkerLostError):
            error = LostProcess(str(error))
        if not return_ok:
            log.error("task %s[%s] did not end: %s", self.name, self.id, type(error).__name__)
        if not self._bury(error) and not self.message.channel.gate.keep(self, error):
            self.reject(requeue=False)

    def _bury(self, error: BaseException) -> bool:
        """Dead-letter the message if it was its last attempt, and a loss; whether that is done.

        On the event loop, as deletes are, with their short timeouts: it is rare.
        """
        channel, info = self.message.channel, self.message.delivery_info
        name, message = name_loss(error), read_message(info["sqs_message"], self.id)
        if name is None or not 0 < channel.attempts <= message.receive_count:
            return False
        receives = message.receive_count
        known = {"message_id": message.message_id, "task_id": self.id, "receives": receives}
        body = write_body(self.name, self.id, self.message.payload[0], info["routing_key"])
        try:
            letters = channel.dead_letters()
            letters.begin(Tried(receives, message.first_ms))
            letters.send_body(body, write_letter(name, error, receives))
        except SluiceError as failure:
            log.warning("message cannot be dead-lettered now", extra={**known, "why": str(failure)})
            return False
        log.error("message dead-lettered", extra={**known, "why": name})
        channel.gate.counted(Fate(0, 1, classes={name: 1}))
        self.acknowledge()
        return True

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> None:
        """Tell the gate what became of the changes, then delete the message.

        Celery calls this for a task that ended; a failed one it passes on to `on_failure`.
        """
        failed, value, _ = failed__retval__runtime
        fate = None if failed else read_fate(value)
        if fate is not None:
            self.message.channel.gate.counted(fate)
        super().on_success(failed__retval__runtime, **kwargs)

    def acknowledge(self) -> None:
        """Delete the message. Reached on success, and once it is a dead letter."""
        super().acknowledge()
        self.message.channel.gate.answered(self)
