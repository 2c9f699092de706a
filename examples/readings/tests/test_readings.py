"""Readings and packets from the table to the index: composite keys, binary in part and in whole."""

from decimal import Decimal
from hashlib import sha256

import pytest

from examples.readings.tables import Packet, Reading, packets, readings
from kit.errors import UnwritableItemError
from kit.pipeline import Pipeline, Pipelines

STATION = bytes.fromhex("00ff7c25b19ad300")
NOON = 1_704_110_400


@pytest.fixture
def pipeline(sluice_pipeline: Pipelines) -> Pipeline[Reading]:
    return sluice_pipeline(readings, key=("s", "t"))


def test_a_reading_is_found_under_the_names_of_the_model(pipeline: Pipeline[Reading]) -> None:
    pipeline.put(
        Reading(station=STATION, taken=NOON, celsius=Decimal("-4.25"), packet=b"\x00\x01\xfe")
    )
    assert pipeline.document((STATION, NOON)) == {
        "station": "00ff7c25b19ad300",
        "taken": "2024-01-01T12:00:00+00:00",
        "celsius": -4.25,
        "packet": "AAH+",
    }


def test_the_table_holds_the_short_names(pipeline: Pipeline[Reading]) -> None:
    pipeline.put(Reading(station=STATION, taken=NOON, celsius=Decimal(3)))
    assert pipeline.item((STATION, NOON)) == {"s": STATION, "t": NOON, "c": 3, "p": b""}


def test_each_key_has_a_document_of_its_own(pipeline: Pipeline[Reading]) -> None:
    stations = [STATION, STATION + b"|", STATION[:-1], b"\x00", b"00"]
    for number in (0, 1, -1, 10, 100, NOON):
        for station in stations:
            pipeline.put(Reading(station=station, taken=number, celsius=Decimal(number)))
    assert len(pipeline.documents()) == 30
    for station in stations:
        pipeline.delete((station, 10))
    assert len(pipeline.documents()) == 25
    assert pipeline.document((STATION, 10)) is None
    assert pipeline.document((STATION, 1)) is not None


def test_whatever_order_readings_come_in_the_last_one_stays(pipeline: Pipeline[Reading]) -> None:
    for celsius in range(20):
        pipeline.put(Reading(station=STATION, taken=NOON, celsius=Decimal(celsius)))
    pipeline.deliver(shuffled=True, twice=True)
    document = pipeline.document((STATION, NOON))
    assert document is not None
    assert document["celsius"] == 19


def test_a_sensor_out_of_order_is_hidden_until_it_is_mended(pipeline: Pipeline[Reading]) -> None:
    pipeline.put(Reading(station=STATION, taken=NOON))
    assert pipeline.documents() == {}
    assert pipeline.state((STATION, NOON)) == "hidden"
    pipeline.put(Reading(station=STATION, taken=NOON, celsius=Decimal(1)))
    assert pipeline.state((STATION, NOON)) == "live"


def test_an_attribute_the_model_does_not_know_is_kept(pipeline: Pipeline[Reading]) -> None:
    pipeline.put({"s": STATION, "t": NOON, "c": 1, "wind": {"from": "NW"}})
    document = pipeline.document((STATION, NOON))
    assert document is not None
    assert document["wind"] == {"from": "NW"}


def test_a_reading_without_its_time_is_no_item(pipeline: Pipeline[Reading]) -> None:
    with pytest.raises(UnwritableItemError, match="no key attribute t"):
        pipeline.put({"s": STATION, "c": 1})


@pytest.fixture
def packet_pipeline(sluice_pipeline: Pipelines) -> Pipeline[Packet]:
    return sluice_pipeline(packets, key=("s", "d"))


def packet(content: bytes, station: bytes = STATION, times: int = 1) -> Packet:
    digest = sha256(content).digest()
    return Packet(station=station, digest=digest, packet=content, times=times)


def test_a_packet_is_found_by_both_parts_of_its_key_in_digits(
    packet_pipeline: Pipeline[Packet],
) -> None:
    one = packet(b"\x00\xff")
    packet_pipeline.put(one)
    assert packet_pipeline.document((STATION, one.digest)) == {
        "station": "00ff7c25b19ad300",
        "digest": sha256(b"\x00\xff").hexdigest(),
        "packet": "AP8=",
        "times": 1,
    }
    assert packet_pipeline.item((STATION, one.digest)) == {
        "s": STATION,
        "d": one.digest,
        "p": b"\x00\xff",
        "n": 1,
    }


def test_no_two_binary_keys_share_a_document(packet_pipeline: Pipeline[Packet]) -> None:
    parts = [b"\x00", b"\x00\x00", b"|", b"0", b"\xff", b"\xff|", b"AA=="]
    for station in parts:
        for digest in parts:
            packet_pipeline.put(Packet(station=station, digest=digest, packet=station + digest))
    assert len(packet_pipeline.documents()) == len(parts) ** 2
    packet_pipeline.delete((b"\x00", b"\x00\x00"))
    assert packet_pipeline.document((b"\x00", b"\x00\x00")) is None
    assert packet_pipeline.document((b"\x00\x00", b"\x00")) is not None
    assert len(packet_pipeline.documents()) == len(parts) ** 2 - 1


def test_whatever_order_packets_come_in_the_last_count_stays(
    packet_pipeline: Pipeline[Packet],
) -> None:
    for times in range(1, 20):
        packet_pipeline.put(packet(b"noise", times=times))
    packet_pipeline.deliver(shuffled=True, twice=True)
    document = packet_pipeline.document((STATION, sha256(b"noise").digest()))
    assert document is not None
    assert document["times"] == 19
