"""What a task reports reaches the main process whole, in Celery's limit, or as nothing."""

import json

import pytest
from celery.app.task import Task
from celery.utils.saferepr import saferepr
from hypothesis import given
from hypothesis import strategies as st

from worker.fate import CLASSES, OTHER, Fate, count_lags, count_values, read_fate, write_fate
from worker.metrics import LAG

counts = st.integers(0, 10**7)
many_lags = st.lists(
    st.integers(0, 10**6), min_size=len(LAG.bounds) + 1, max_size=len(LAG.bounds) + 1
)


def as_it_arrives(fate: Fate) -> str:
    """Celery's own way of handing a task's return value on (celery.app.trace)."""
    return str(saferepr(write_fate(fate), Task.resultrepr_maxsize))


@st.composite
def fates(draw: st.DrawFn) -> Fate:
    names = st.text(st.sampled_from("abcXYZ_.:-09"), min_size=1, max_size=60)
    return Fate(
        done=draw(counts),
        refused=draw(counts),
        applied=draw(counts),
        obsolete=draw(counts),
        folded=draw(counts),
        conflicts=draw(counts),
        wire_bytes=draw(counts),
        json_bytes=draw(counts),
        took_ms=draw(st.none() | counts),
        bulk_ms=draw(counts),
        lag_sum_ms=draw(st.integers(0, 10**12)),
        lag_max_ms=draw(counts),
        lags=tuple(draw(many_lags.filter(any) | st.just([]))),
        classes=draw(st.dictionaries(names, st.integers(1, 10**6), max_size=CLASSES)),
    )


@given(fates())
def test_a_fate_arrives_as_it_was(fate: Fate) -> None:
    assert read_fate(as_it_arrives(fate)) == fate


@given(st.dictionaries(st.text(max_size=300), st.integers(1, 10**9), max_size=40))
def test_whatever_was_refused_fits_and_every_change_is_counted(classes: dict[str, int]) -> None:
    full = tuple([10**6] * (len(LAG.bounds) + 1))
    fate = Fate(10**7, sum(classes.values()), lags=full, took_ms=1, classes=classes)
    back = read_fate(as_it_arrives(fate))
    assert back is not None
    assert len(back.classes) <= CLASSES + 1
    assert sum(back.classes.values()) == fate.refused


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "None",
        "'[1]'",
        "[1, 0]",
        "'[]'",
        "'{}'",
        "'[1,0,0,0,0,0,0,0,null,0,0,[99,1],[]]'",
        "'[1,0,0,0,0,0,0,0,null,0,0,[1],[]]'",
        "'[-1,0,0,0,0,0,0,0,null,0,0,[],[]]'",
        "'[true,0,0,0,0,0,0,0,null,0,0,[],[]]'",
        "'[1,0,0,0,0,0,0,0,null,0,0,[],[[1]]]'",
        "'[1,0,0,0,0,0,0,0,null,0,0,7,[]]'",
        "'" + "[" * 100_000 + "'",
    ],
)
def test_anything_else_is_no_fate_and_no_error(text: object) -> None:
    assert read_fate(text) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    read_fate(text)


def test_classes_beyond_the_limit_are_counted_together() -> None:
    fate = Fate(0, 55, classes={f"Error{n}": n + 1 for n in range(10)})
    told = json.loads(write_fate(fate))[-1]
    assert told[0] == ["Error9", 10]
    assert told[-1] == [OTHER, 1 + 2]


def test_a_value_lies_in_the_bucket_whose_bound_it_reaches() -> None:
    assert count_values([1, 1.01, 2, 99], (1, 2)) == (1, 2, 1)
    assert sum(count_lags([0, 3, 10**9])) == 3
    assert count_lags([10**9])[-1] == 1
