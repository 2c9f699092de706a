"""What the table's side has proven need not be looked up again, and nothing else is left out."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.checkpoint import FileStore, Journal, Share
from console.verify.sums import Sums, choose_bits
from tests.sides import SEGMENTS, Sides, walk_sides

DIGESTS = st.lists(st.integers(0, 2**128 - 1).map("{:032x}".format), max_size=30)
ODD = st.lists(
    st.sampled_from(
        ["", "g" * 32, "A" * 32, "0" * 31, " " + "0" * 31, "\u0661" * 32, "0x" + "0" * 30]
    )
)


def doubt(agreed: list[str], documents: list[str], bits: int) -> list[str]:
    sums = Sums(bits)
    sums.add(agreed)
    return sums.doubt(documents)


@given(DIGESTS, st.integers(0, 12), st.randoms())
def test_documents_that_all_agreed_are_in_no_doubt(
    digests: list[str], bits: int, rng: Random
) -> None:
    assert doubt(digests, rng.sample(digests, len(digests)), bits) == []


@given(DIGESTS, DIGESTS, DIGESTS, st.integers(0, 12))
def test_a_document_that_no_item_agreed_with_is_in_doubt(
    both: list[str], gone: list[str], left_over: list[str], bits: int
) -> None:
    doubted = Counter(doubt(both + gone, both + left_over, bits))
    assert not Counter(left_over) - Counter(gone) - doubted


@given(DIGESTS, st.integers(0, 12))
def test_a_copy_puts_its_document_in_doubt(digests: list[str], bits: int) -> None:
    assert set(digests[:1]) <= set(doubt(digests, digests + digests[:1], bits))


@given(DIGESTS, ODD, st.integers(0, 12))
def test_what_is_no_digest_is_in_doubt_and_nobody_else_for_it(
    digests: list[str], odd: list[str], bits: int
) -> None:
    assert doubt(digests, odd + digests, bits) == odd


@given(st.integers(0, 10**12))
def test_there_are_about_as_many_buckets_as_documents_up_to_a_million(documents: int) -> None:
    buckets = 1 << choose_bits(documents)
    assert buckets <= 2**20
    assert buckets >= min(documents, 2**20)
    assert buckets <= max(1, 2 * documents)


def open_journal(path: Path | None = None) -> Journal:
    return Journal({}, FileStore(path) if path else None, lambda: 5, every_s=0)


def test_where_both_sides_agree_no_key_is_read_from_the_table() -> None:
    sides = Sides(12_000)
    journal = open_journal()
    assert walk_sides(sides, journal) == []
    assert sides.asked == 0
    assert journal.count("documents") == 12_000


def test_what_is_left_over_is_found_for_a_few_reads() -> None:
    sides = Sides(12_000, left_over=7)
    found = walk_sides(sides, open_journal())
    assert sorted(one.place.id for one in found) == [f"{n:09}" for n in range(12_000, 12_007)]
    assert {one.kind for one in found} == {"left over"}
    assert 7 <= sides.asked < 100


@pytest.mark.parametrize("number", [1, 2])
def test_a_share_reads_every_key_of_its_ranges(number: int) -> None:
    sides = Sides(2_000, left_over=5)
    journal = open_journal()
    found = walk_sides(sides, journal, Share(number, 2))
    assert sides.asked == journal.count("documents") > 500
    assert len(found) <= 5


def test_a_comparison_that_goes_on_after_a_kill_reads_every_key_that_is_left(
    tmp_path: Path,
) -> None:
    """What the earlier run has added up went with it."""
    path = tmp_path / "checkpoint"
    sides = Sides(2_000, left_over=5)
    before = open_journal(path)
    before.open(
        [f"{kind}:{n}" for kind in ("table", "index") for n in range(SEGMENTS)] + ["foreign"]
    )
    before.advance("table:0", {"id": {"S": f"{99:09}"}}, False, items=100)
    journal = open_journal(path)
    found = walk_sides(sides, journal)
    assert len(found) == 5
    assert journal.count("items") == 2_000
    assert sides.asked == journal.count("documents") == 2_005
