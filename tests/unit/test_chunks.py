"""Chunks fit, to the byte, are as full as they can be, and hold every change once and in order."""

import random
import zlib
from collections import Counter
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from producer.chunks import LEVEL, Limits, Packed, Packer, fit_limits, pack
from producer.contract import (
    DEAD_LETTER_RESERVE_BYTES,
    Change,
    ContractError,
    chunk_frame,
    decode_chunk,
    payload_bytes,
    read_images,
    read_payload,
    write_change,
    write_envelope,
)
from tests import strategies
from tests.fakes import ARN, noise, sequence

TABLE = "posts-a.b"
SLACK_SHARE, SLACK_BYTES = 1 / 20, 128
"""A chunk may end this much early: what sync flushes cost against one uninterrupted stream."""


def make_change(number: int, text: str, old: str | None = None) -> Change:
    return Change(
        kind="MODIFY",
        key={"id": {"S": str(number)}},
        at=1_700_000_000_000,
        sequence=sequence(number),
        new={"id": {"S": str(number)}, "text": {"S": text}},
        old=None if old is None else {"id": {"S": str(number)}, "text": {"S": old}},
    )


def compressed_bytes(packed: Packed) -> int:
    return (len(packed.payload) - payload_bytes(0)) // 4 * 3 - packed.payload[-2:].count("=")


def unpack(packed: list[Packed]) -> list[Change]:
    """All changes, their images back from the objects."""
    changes = []
    for chunk in packed:
        objects = {stored.key: stored.content for stored in chunk.objects}
        for change in decode_chunk(chunk.payload).changes:
            aside = change.overflow
            changes.append(change if aside is None else read_images(change, objects[aside.key]))
    return changes


def assert_within(packed: list[Packed], limits: Limits) -> None:
    for chunk in packed:
        assert chunk.places
        assert compressed_bytes(chunk) <= limits.compressed
        assert chunk.inflated == len(read_payload(chunk.payload)) <= limits.inflated


def assert_full(
    packed: list[Packed],
    changes: list[Change],
    limits: Limits,
    library: ModuleType = zlib,
) -> None:
    """No chunk could have taken the change that starts the next one."""
    for chunk, after in pairwise(packed):
        places = [*chunk.places, after.places[0]]
        if chunk.objects or after.objects:
            continue
        head, tail = chunk_frame(TABLE, ARN)
        whole = head + b",".join(write_change(changes[place]) for place in places) + tail
        stream = library.compressobj(LEVEL)
        compressed = len(stream.compress(whole) + stream.flush())
        room = limits.compressed * (1 - SLACK_SHARE) - SLACK_BYTES
        assert len(whole) > limits.inflated or compressed > room


compressible = st.text("ab ", max_size=4_000)
incompressible = st.builds(noise, st.integers(0, 99), st.integers(0, 3_000))
histories = st.lists(st.one_of(compressible, incompressible), min_size=1, max_size=40).map(
    lambda texts: [make_change(number, text) for number, text in enumerate(texts)]
)
some_limits = st.builds(Limits, st.integers(500, 8_000), st.integers(800, 40_000))


@pytest.mark.parametrize("library", [zlib, zlib_ng])
@settings(max_examples=200)
@given(changes=histories, limits=some_limits)
def test_chunks_stay_within_limits_full_and_in_order(
    library: ModuleType, changes: list[Change], limits: Limits
) -> None:
    packer = Packer(limits, library=library)
    packed = [full for place, c in enumerate(changes) for full in packer.add(TABLE, ARN, c, place)]
    packed += packer.close()
    assert_within(packed, limits)
    assert_full(packed, changes, limits, library)
    assert unpack(packed) == changes
    assert [place for chunk in packed for place in chunk.places] == list(range(len(changes)))


@settings(max_examples=60)
@given(st.lists(strategies.stream_changes(), min_size=1, max_size=8), st.integers(1_500, 3_000))
def test_any_item_travels_whole_through_small_messages(
    changes: list[Change], compressed: int
) -> None:
    limits = Limits(compressed, 10 * compressed)
    whole = [change for change in changes if change.overflow is None]
    assert unpack(list(pack(TABLE, ARN, whole, limits))) == whole


def test_a_change_is_set_aside_at_exactly_the_byte_that_no_longer_fits() -> None:
    def alone(limits: Limits) -> Packed:
        (chunk,) = pack(TABLE, ARN, [change], limits)
        return chunk

    change = make_change(1, noise(1, 6_000))
    head, tail = chunk_frame(TABLE, ARN)
    body = head + write_change(change) + tail
    compressed, inflated = len(zlib.compress(body, LEVEL)), len(body)
    assert not alone(Limits(compressed, inflated)).objects
    assert alone(Limits(compressed - 1, inflated)).objects
    assert alone(Limits(compressed, inflated - 1)).objects


def test_each_change_is_serialised_once_and_one_set_aside_again_without_its_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: Counter[str | None] = Counter()

    def count(change: Change, dumps: Any) -> bytes:
        written[change.sequence] += 1
        return write_change(change, dumps)

    monkeypatch.setattr("producer.chunks.write_change", count)
    large = {7, 19}
    changes = [
        make_change(number, noise(number, 9_000 if number in large else 700))
        for number in range(30)
    ]
    packed = list(pack(TABLE, ARN, changes, Limits(compressed=4_000, inflated=40_000)))
    assert len(packed) > 5
    assert sum(len(chunk.objects) for chunk in packed) == len(large)
    assert written == {sequence(n): 2 if n in large else 1 for n in range(30)}


def test_a_claim_check_names_the_same_key_and_bytes_each_time() -> None:
    change = make_change(5, noise(5, 9_000))
    first, second = (list(pack(TABLE, ARN, [change], Limits(2_000, 50_000))) for _ in range(2))
    assert first[0].objects == second[0].objects
    (stored,) = first[0].objects
    assert stored.key == f"{TABLE}/2024-01-01T00:00:00.000/{sequence(5)}"
    (travelling,) = decode_chunk(first[0].payload).changes
    assert travelling.overflow is not None
    assert travelling.overflow.bytes == len(zlib.decompress(stored.content))
    assert unpack(first) == [change]


def test_a_claim_check_keeps_its_place_among_small_changes() -> None:
    changes = [make_change(0, "a"), make_change(1, noise(1, 9_000)), make_change(2, "b")]
    (chunk,) = pack(TABLE, ARN, changes, Limits(2_000, 50_000))
    assert chunk.places == (0, 1, 2)
    assert unpack([chunk]) == changes


def test_an_item_of_400_kb_with_both_images_and_many_attributes_travels_whole() -> None:
    def image(seed: int) -> dict[str, dict[str, str]]:
        drawn = random.Random(seed)  # 11 bytes each, as DynamoDB counts
        return {f"{n:05}": {"S": f"{drawn.randrange(10**6):06}"} for n in range(36_000)}

    change = Change("MODIFY", {"id": {"S": "1"}}, 0, sequence(1), image(0), image(1))
    limits = fit_limits("queue", 262_144, 1_048_576)
    packed = list(pack(TABLE, ARN, [change], limits))
    assert_within(packed, limits)
    assert len(packed[0].objects) == 1
    assert unpack(packed) == [change]


def test_reads_of_the_table_travel_the_same_way() -> None:
    item = {"id": {"S": "1"}, "text": {"S": noise(3, 9_000)}}
    changes = [
        Change("READ", {"id": {"S": "1"}}, 1_700_000_000_000, new=item),
        Change("READ", {"id": {"S": "2"}}, 1_700_000_000_000),
    ]
    packed = list(pack(TABLE, None, changes, Limits(2_000, 50_000)))
    (stored,) = packed[0].objects
    assert stored.key.startswith(f"{TABLE}/reads/1700000000000-")
    assert unpack(packed) == changes
    assert decode_chunk(packed[0].payload).stream is None


def test_changes_of_several_streams_share_no_chunk_and_keep_their_order() -> None:
    streams = [f"arn:aws:dynamodb:eu-west-1:1:table/t{n}/stream/2024" for n in range(3)]
    packer = Packer(Limits(1_000, 5_000))
    packed = []
    for place in range(60):
        change = make_change(place, noise(place, 60))
        packed += packer.add(f"t{place % 3}", streams[place % 3], change, place)
    packed += packer.close()
    for number, stream in enumerate(streams):
        places = [place for chunk in packed if chunk.stream == stream for place in chunk.places]
        assert places == list(range(number, 60, 3))
    assert packer.close() == []


def test_open_chunks_are_closed_in_the_order_of_their_first_changes() -> None:
    packer = Packer(Limits(1_000, 5_000))
    assert packer.add("a", None, read("1", 300), 0) == []
    assert packer.add("b", None, read("2", 300), 1) == []
    assert [chunk.places for chunk in packer.add("a", None, read("3", 700), 2)] == [(0,)]
    assert [chunk.table for chunk in packer.close()] == ["b", "a"]


def read(key: str, size: int) -> Change:
    return Change("READ", {"id": {"S": key}}, 0, new={"noise": {"B": noise(int(key), size)}})


def test_nothing_packs_into_nothing() -> None:
    assert list(pack(TABLE, ARN, [], Limits(2_000, 50_000))) == []


def test_a_change_that_no_message_can_carry_is_refused_and_leaves_no_trace() -> None:
    packer = Packer(Limits(1_000, 50_000))
    packer.add(TABLE, ARN, make_change(0, "a"), 0)
    hopeless = Change("REMOVE", {"id": {"S": noise(1, 4_000)}}, 0, sequence(1))
    with pytest.raises(ContractError, match="too large"):
        packer.add(TABLE, ARN, hopeless, 1)
    with pytest.raises(ContractError, match="Unicode"):
        packer.add(TABLE, ARN, make_change(2, "\ud800"), 2)
    packer.add(TABLE, ARN, make_change(3, "b"), 3)
    (chunk,) = packer.close()
    assert chunk.places == (0, 3)


@pytest.mark.parametrize("message_bytes", [32_768, 32_769, 32_770, 32_771, 262_144, 1_048_576])
def test_the_largest_chunk_makes_a_message_that_can_still_be_dead_lettered(
    message_bytes: int,
) -> None:
    limits = fit_limits("queue-name", message_bytes, 8_388_608)
    text = write_envelope("1:" + "A" * (limits.compressed // 3 * 4), "queue-name")
    room = message_bytes - DEAD_LETTER_RESERVE_BYTES - len(text.encode())
    assert 0 <= room < 4


@pytest.mark.parametrize("characters", ["\x01\x02\x1f", "é\U0010ffff𝄞", '\\"/'])
def test_the_least_message_takes_the_largest_key_whatever_its_characters(characters: str) -> None:
    def text(seed: int, count: int) -> str:
        drawn = noise(seed, count).encode()
        letters = [characters[byte % len(characters)] for byte in drawn]
        return "".join(letters).encode()[:count].decode(errors="ignore")

    key = {text(1, 255): {"S": text(2, 2_048)}, text(3, 254) + "b": {"S": text(4, 1_024)}}
    table = noise(5, 200)[:255].translate(str.maketrans("+/=", "..."))
    stream = f"arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/{table}/stream/{'2' * 30}"
    limits = fit_limits("q" * 80, 32_768, 32_768)
    change = Change("INSERT", key, 10**13, "9" * 40, {**key, "x": {"S": noise(6, 300_000)}})
    packed = list(pack(table, stream, [change], limits))
    assert_within(packed, limits)
    assert unpack(packed) == [change]


def test_a_spike_of_small_changes_needs_half_of_its_json_and_fills_its_messages() -> None:
    drawn = random.Random(1)
    words = ["".join(drawn.choices("etaoinshrdlu", k=drawn.randint(2, 9))) for _ in range(3_000)]
    changes = [make_change(n, " ".join(drawn.choices(words, k=150))) for n in range(1_500)]
    limits = fit_limits("queue", 262_144, 1_048_576)
    packed = list(pack(TABLE, ARN, changes, limits))
    assert len(packed) > 1
    assert_within(packed, limits)
    assert_full(packed, changes, limits)
    wire = sum(len(chunk.payload) for chunk in packed)
    assert wire < 0.6 * sum(chunk.inflated for chunk in packed)
