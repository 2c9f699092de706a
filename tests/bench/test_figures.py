"""Statistics of the benchmarks: medians of rounds, percentiles, aims, flatness."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import LARGE, SMALL, average_bytes, make_changes, make_posts, make_records
from bench.figures import Aim, compare, is_flat, percentile, render, tell, write_row


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    row = compare("n", "w", [10, 20, 90], [10, 10, 10], unit="/s", against="r", aim=None)
    assert (row.figure, row.reference, row.ratio) == (20, 10, 2)
    assert (row.least, row.most) == (1, 9)


def test_a_reference_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="reference of 0"):
        compare("n", "w", [1], [0], unit="/s", against="r", aim=None)


@pytest.mark.parametrize(
    ("aim", "reached", "missed"),
    [
        (Aim("at least", 0.9), 0.9, 0.89),
        (Aim("at most", 3), 3, 3.1),
        (Aim("within", 0.1), 0.95, 0.85),
    ],
)
def test_an_aim_says_what_reaches_it(aim: Aim, reached: float, missed: float) -> None:
    assert aim.is_reached(reached)
    assert not aim.is_reached(missed)


def test_a_row_that_missed_its_aim_says_so_in_table_and_json() -> None:
    row = tell("lag", "lag", 4.0, unit="s", aim=Aim("at most", 3))
    assert "**no**" in render([row])
    assert write_row(row)["reached"] is False


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_no_more_than_its_share_lies_below_a_percentile(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values)
    assert sum(v < found for v in values) <= share * len(values)


def test_a_series_that_grows_is_not_flat() -> None:
    assert is_flat([1.0, 1.2, 0.9, 1.1, 1.0, 1.2], 0.5)
    assert not is_flat([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.5)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_posts_have_the_size_that_the_rows_state_and_three_blocks(size: int) -> None:
    posts = make_posts(50, prefix="p", size=size)
    assert abs(average_bytes(posts) - size) < 0.05 * size
    assert {len(post["blocks"]) for post in posts} == {3}
    assert posts == make_posts(50, prefix="p", size=size)


def test_records_and_changes_say_the_same() -> None:
    posts = make_posts(5, prefix="p")
    records = make_records(posts, at_s=1)
    changes = make_changes(posts, at_ms=1000)
    assert [r["dynamodb"]["NewImage"] for r in records] == [c.new for c in changes]
