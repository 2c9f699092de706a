"""Readings of weather stations, and the packets that could not be read: composite, binary keys.

Of a reading's key the first part is binary, the second a number; of a packet's, both are binary.
Attribute names in the table are short, as every item is billed with them. The model gives them
names to work with, and the document has those too.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from worker.tables import Table, dump


class Reading(BaseModel):
    """One packet of a station, and what it says."""

    # Built by field name in code and tests, read by attribute name from the table.
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    station: bytes = Field(validation_alias="s")
    """Hardware address, 8 bytes: the partition key."""
    taken: int = Field(validation_alias="t")
    """Seconds since the epoch: the sort key."""
    celsius: Decimal | None = Field(default=None, validation_alias="c")
    """None: the sensor was out of order."""
    packet: bytes = Field(default=b"", validation_alias="p")
    """As it came over the air."""


def document(reading: Reading) -> dict[str, Any] | None:
    """A reading as people search it: a station by its address in hexadecimal digits."""
    if reading.celsius is None:
        return None
    return {
        **dump(reading),
        "station": reading.station.hex(),
        "taken": datetime.fromtimestamp(reading.taken, UTC),
    }


readings = Table(
    "readings",
    model=Reading,
    document=document,
    mappings={
        "station": {"type": "keyword"},
        "taken": {"type": "date"},
        "celsius": {"type": "double"},
        "packet": {"type": "binary"},
    },
    # All readings of one station lie in one shard: a search that names the routing asks only that.
    routing="s",
)


class Packet(BaseModel):
    """A packet that nobody could make a reading of, however often the station sent it."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    station: bytes = Field(validation_alias="s")
    """Hardware address, 8 bytes: the partition key."""
    digest: bytes = Field(validation_alias="d")
    """SHA-256 of the packet, 32 bytes: the sort key."""
    packet: bytes = Field(validation_alias="p")
    times: int = Field(default=1, validation_alias="n")
    """How often it came."""


def packet_document(packet: Packet) -> dict[str, Any]:
    """A packet as people search it: both parts of its key in hexadecimal digits."""
    return {**dump(packet), "station": packet.station.hex(), "digest": packet.digest.hex()}


packets = Table(
    "packets",
    model=Packet,
    document=packet_document,
    mappings={
        "station": {"type": "keyword"},
        "digest": {"type": "keyword"},
        "packet": {"type": "binary"},
        "times": {"type": "integer"},
    },
)
