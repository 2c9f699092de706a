"""A rebuild's copy is cut into parts that hold everything once, and hosts' words on them merge."""

from bisect import bisect_left
from dataclasses import asdict, replace
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import checkpoint
from console.persistence import Persistence
from console.rebuild.copy import Copier, cut
from console.rebuild.stand import (
    Part,
    Progress,
    Stand,
    describe,
    merge,
    read_progress,
    tell_progress,
)
from console.rebuild.writing import Written
from console.status.facts import Facts
from console.status.render import write_table
from worker.cluster import Answer
from worker.errors import ConfigurationError, UnavailableError
from worker.identity import document_id, key_text
from worker.mappings import META
from worker.tables import Table
from worker.view import Destination

PART = st.builds(
    Part,
    until=st.none() | st.text(),
    after=st.none() | st.text(),
    done=st.booleans(),
    copied=st.integers(0, 99),
)


@given(st.lists(st.text(min_size=1), unique=True, max_size=40), st.integers(1, 9))
def test_parts_are_in_order_and_of_about_one_size(ids: list[str], parts: int) -> None:
    made = cut(ids, parts)
    assert len(made) <= parts
    marks = [part.until for part in made if part.until is not None]
    assert made[-1] == Part()
    assert marks == sorted(set(marks))
    sizes = [0] * len(made)
    for name in ids:
        sizes[bisect_left(marks, name)] += 1
    assert max(sizes) <= len(ids) // parts + 2


@given(st.lists(PART, min_size=1, max_size=6), st.data())
def test_a_host_tells_of_its_own_parts_and_keeps_the_others(
    parts: list[Part], data: st.DataObject
) -> None:
    told = Progress("copying", tuple(parts), 5, 6)
    mine = data.draw(st.dictionaries(st.integers(0, len(parts) - 1), PART))
    merged = merge(told, mine)
    for number, part in enumerate(merged.parts):
        assert part == mine.get(number, parts[number])
    assert merged.phase == ("copied" if all(p.done for p in merged.parts) else "copying")
    assert merge(replace(told, phase="verified"), mine).phase == "verified"


@given(st.lists(PART, min_size=1, max_size=4))
def test_what_a_mapping_says_is_read_again(parts: list[Part]) -> None:
    progress = Progress("joining", tuple(parts), 7, 8)
    assert read_progress({"_meta": {"sluice": {"rebuild": asdict(progress)}}}) == progress


@pytest.mark.parametrize("said", [None, {}, {"phase": "odd"}, {"phase": "copying", "parts": [1]}])
def test_a_mapping_that_says_nothing_of_a_rebuild_is_an_error(said: object) -> None:
    with pytest.raises(ConfigurationError):
        read_progress({"_meta": {"sluice": {"rebuild": said}}})


def test_where_it_stands_is_said_with_the_command_that_comes_next() -> None:
    before = Table("posts")
    table = Table("posts", version=2, previous=before)
    old = Destination(1, "posts-v1", "posts-write")
    assert describe(Stand(before, old, None, "posts-v1", Progress()))["phase"] == "none"
    due = describe(Stand(table, old, None, "posts-v1", Progress()))
    assert (due["phase"], due["next"]) == ("due", "sluice rebuild posts start")
    parts = (Part("m", "f", done=False, copied=3), Part(copied=4, done=True))
    new = Destination(2, "posts-v2", "posts-write-v2-beside-v1")
    said = describe(Stand(table, old, new, "posts-v1", Progress("copying", parts, 1, 2)))
    assert (said["copied"], said["parts_copied"], said["parts"]) == (7, 1, 2)
    assert said["next"] == "sluice rebuild posts run"
    swapped = describe(Stand(table, old, new, "posts-v2", Progress("verified", parts, 1, 2)))
    assert (swapped["phase"], swapped["next"]) == ("swapped", "sluice rebuild posts finish")


def test_how_far_the_check_is_is_said_while_it_runs() -> None:
    table = Table("posts", version=2, previous=Table("posts"))
    old = Destination(1, "posts-v1", "posts-write-v1-beside-v2")
    new = Destination(2, "posts-v2", "posts-write-v2-beside-v1")
    units = {
        "table:0": checkpoint.Progress("k", counts={"items": 1_200, "documents": 0}),
        "index:0": checkpoint.Progress("d", counts={"items": 0, "documents": 9}),
    }
    kept = checkpoint.write_checkpoint(checkpoint.Checkpoint({}, 1, units)).decode()
    progress = Progress("copied", (Part(copied=5_000, done=True),), check=kept)
    facts = describe(Stand(table, old, new, "posts-v1", progress))
    assert facts["checked"] == 1_200
    assert tell_progress(facts) == "5,000 copied, 1 of 1 parts, 1,200 items compared"
    over = describe(Stand(table, old, new, "posts-v1", replace(progress, check="")))
    assert (over["checked"], "compared" in tell_progress(over)) == (0, False)
    (line,) = [one for one in write_table(Facts("posts", 5, rebuild=facts)) if "rebuild" in one]
    assert line.endswith("copied: to posts-v2; 5,000 copied, 1 of 1 parts, 1,200 items compared")


class LostCluster:
    """Answers searches, and nothing that has to do with where a rebuild stands."""

    def request(self, method: str, path: str, **_: Any) -> Answer:
        if not path.endswith("_search"):
            raise UnavailableError("the cluster is away")
        key = {"id": {"S": "a"}}
        meta = {"id": "a", "key": key_text(key), "state": "live"}
        hit = {"_id": document_id(key), "sort": ["a"], "_source": {META: meta}}
        return Answer(200, {"hits": {"hits": [hit]}})


class LostTable:
    def write(self, known: object, *, is_new: bool) -> Written:
        raise UnavailableError("the table is away")


def test_what_ended_a_copy_is_told_rather_than_that_it_could_not_be_kept() -> None:
    cluster: Any = LostCluster()
    writer: Any = LostTable()
    stop = Event()
    waits = Persistence(stop.wait)
    copier = Copier(
        cluster, "old", "new", writer, 1, lambda: 5, stop, lambda count: None, persistence=waits
    )
    waits.ask(lambda: None)  # the cluster has answered before
    with pytest.raises(UnavailableError, match="the table is away"):
        copier.run(Progress("copying", (Part(),), 5, 6))
