"""What a cluster's answer to one item of a bulk means, by what happens next. Pure."""

from enum import Enum
from typing import Final


class Outcome(Enum):
    """What became of one operation."""

    DONE = "done"
    CONFLICT = "conflict"
    """Somebody else wrote the document meanwhile: read again, decide again."""
    UNAVAILABLE = "unavailable"
    """The cluster cannot take it now, whatever it is: the message comes again."""
    REFUSED = "refused"
    """The cluster will never take it as it is: a dead letter."""


_AWAY: Final = frozenset(
    {
        "circuit_breaking_exception",
        "cluster_block_exception",
        "es_rejected_execution_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "alias_not_found_exception",
        "master_not_discovered_exception",
        "no_shard_available_action_exception",
        "node_not_connected_exception",
        "process_cluster_event_timeout_exception",
        "receive_timeout_transport_exception",
        "security_exception",
        "shard_not_in_primary_mode_exception",
        "timeout_exception",
        "unavailable_shards_exception",
    }
)
"""Error types that speak of the cluster, the index or our rights in it, not of the document.

Some come with a status that alone would blame the document: a read-only index answers 403 (or
429), a missing alias 404. Dead-lettering those would empty the stream into the dead-letter queue.
"""


def classify(status: int, error: str | None) -> Outcome:
    """Judge one item of a bulk answer by its HTTP status and its error type."""
    if status < 300:
        return Outcome.DONE
    if error in _AWAY or status in (401, 403, 408, 429) or status >= 500:
        return Outcome.UNAVAILABLE
    if status == 409 or error == "document_missing_exception":
        return Outcome.CONFLICT
    return Outcome.REFUSED
