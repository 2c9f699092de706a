"""A worker's document: what is written comes back, and whatever else lies there does no harm."""

import json

from hypothesis import given
from hypothesis import strategies as st

from worker.state import LagCounts, Totals, ValveState, WorkerState, read_state, write_state

counts = st.integers(0, 10**12)
stands = st.sampled_from(["open", "shut", "trial"])

states = st.builds(
    WorkerState,
    queue=st.text(),
    worker=st.text(),
    at=counts,
    started=counts,
    concurrency=counts,
    polling=st.booleans(),
    breaker=stands,
    valve=st.builds(
        ValveState, stands, counts, st.none() | st.integers(1, 10**12), st.text(max_size=50)
    ),
    in_work=counts,
    held=counts,
    lag=st.builds(
        LagCounts,
        counts,
        st.lists(st.floats(0, 10**6)).map(tuple),
        st.lists(counts).map(tuple),
    ),
    totals=st.builds(Totals, *(counts for _ in range(5))),
    refused=st.dictionaries(st.text(max_size=20), st.integers(1, 10**9), max_size=5),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(states)
def test_what_is_written_comes_back(state: WorkerState) -> None:
    assert read_state(json.loads(json.dumps(write_state(state)))) == state


def test_the_document_has_the_names_that_others_read() -> None:
    document = write_state(WorkerState("changes", "host:7", 2, 1, breaker="shut"))
    assert document["kind"] == "worker"
    assert (document["queue"], document["worker"]) == ("changes", "host:7")
    assert document["valve"] == {"state": "open", "since": 0, "trial_at": None, "why": ""}
    assert set(document["lag"]) == {"window_s", "bounds_s", "counts"}
    assert set(document["totals"]) == {"changes", "applied", "obsolete", "refused", "conflicts"}


@given(st.dictionaries(st.sampled_from(WorkerState.__slots__), json_values), json_values)
def test_whatever_a_document_holds_reading_it_is_no_error(
    document: dict[str, object], kind: object
) -> None:
    read_state({**document, "kind": kind})
    state = read_state({**document, "kind": "worker", "queue": "q", "worker": "w", "at": 1})
    assert state is not None
    assert state.breaker in ("open", "shut", "trial")


def test_a_word_is_no_worker() -> None:
    assert read_state({"kind": "valve", "queue": "q", "worker": "w", "at": 1}) is None
