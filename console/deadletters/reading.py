"""A stream record that the producer could not read, read again by the producer's current code."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.deadletters.model import Record
from producer.batch import read_batch
from producer.contract import REASON_ATTRIBUTE, ContractError, inflate
from producer.errors import ConfigurationError
from producer.message import Message
from producer.settings import Settings


class StillUnreadableError(ValueError):
    """The record stays where it is, and why."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns such records into messages of changes."""

    settings: Settings | None
    problem: str
    """What the settings lack, if they are None."""
    fetch: Callable[[str], bytes]
    """An object of the overflow bucket, by its key. Raises StillUnreadableError."""
    now: Callable[[], datetime]

    def read(self, record: Record) -> list[Message]:
        """The messages for the main queue. Raises StillUnreadableError."""
        if self.settings is None:
            raise StillUnreadableError(f"to read it again, the producer's settings: {self.problem}")
        event = {"Records": [self._redeem(record.value)]}
        try:
            batch = read_batch(event, self.settings, self.now())
        except ConfigurationError as error:
            raise StillUnreadableError(str(error)) from error
        if batch.unreadable:
            reason = batch.messages[0].attributes[REASON_ATTRIBUTE]["StringValue"]
            raise StillUnreadableError(f"the producer still cannot read it: {reason}")
        return batch.messages

    def _redeem(self, value: object) -> object:
        """The record, if what is there is only the claim check of it."""
        claim = value.get("overflow") if isinstance(value, dict) and len(value) == 1 else None
        key = claim.get("key") if isinstance(claim, Mapping) else None
        if not isinstance(key, str):
            return value
        try:
            redeemed: Any = json.loads(inflate(self.fetch(key)))
        except (ContractError, ValueError, RecursionError) as error:
            raise StillUnreadableError(f"the overflow object {key!r}: {error}") from error
        return redeemed
