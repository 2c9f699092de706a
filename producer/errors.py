"""Errors of the producer, named by what happens next."""


class ConfigurationError(Exception):
    """A person must change a setting or the stream. The invocation fails, and with it the shard
    waits: nothing is lost meanwhile, for as long as the stream keeps its records (24 hours)."""


class UnreadableRecordError(ValueError):
    """This stream record alone goes to the dead-letter queue, as it is; the shard moves on.

    Its text names attributes and types, never values.
    """


class MalformedEventError(ValueError):
    """What invoked the function was no event of a DynamoDB stream. The invocation fails."""


class UndeliverableError(Exception):
    """A record could not be delivered and has no sequence number to report it by, so the
    invocation fails: Lambda delivers the whole batch again."""
