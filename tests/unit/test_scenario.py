"""What the demo writes is the same for a seed, and fits DynamoDB's batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.demo.scenario import (
    BATCH,
    Write,
    batches,
    existing_posts,
    lanes,
    make_spike,
)
from producer.contract import write_json

WRITES = st.lists(st.builds(Write, st.sampled_from("abcdefgh")), max_size=80)


def test_the_same_seed_writes_the_same() -> None:
    assert make_spike(50, 200, 7) == make_spike(50, 200, 7)
    assert make_spike(50, 200, 7) != make_spike(50, 200, 8)


def test_every_write_of_a_spike_changes_its_item() -> None:
    table = {write.id: write.item for write in existing_posts(50, 3)}
    for write in make_spike(50, 2_000, 3).writes:
        assert table.get(write.id) != write.item, "a write that changes nothing makes no record"
        table[write.id] = write.item


def test_a_spike_holds_edits_deletes_oversize_posts_and_one_poison_post() -> None:
    spike = make_spike(100, 500, 1)
    assert len(spike.writes) == 507
    assert spike.deletes > 0
    large = [w for w in spike.writes if w.item and len(write_json(w.item)) > 262_144]
    assert {write.id for write in large} == set(spike.oversize)
    assert sum(write.id == spike.poison for write in spike.writes) == 1


@pytest.mark.parametrize("posts", [50, 400])
def test_deletes_name_posts_that_are_there(posts: int) -> None:
    there = {write.id for write in existing_posts(posts, 2)}
    for write in make_spike(posts, 1_000, 2).writes:
        if write.item is None:
            there.remove(write.id)
        else:
            there.add(write.id)


@given(WRITES)
def test_batches_keep_all_writes_in_order_and_name_no_item_twice(writes: list[Write]) -> None:
    made = list(batches(writes))
    assert [write for batch in made for write in batch] == writes
    assert all(len({w.id for w in batch}) == len(batch) <= BATCH for batch in made)


@given(WRITES, st.integers(1, 5))
def test_lanes_keep_the_writes_of_one_item_together_and_in_order(
    writes: list[Write], count: int
) -> None:
    made = lanes(writes, count)
    for name in {write.id for write in writes}:
        homes = [lane for lane in made if any(write.id == name for write in lane)]
        assert len(homes) == 1
        mine = [write for write in writes if write.id == name]
        assert all(a is b for a, b in zip(mine, (w for w in homes[0] if w.id == name), strict=True))
