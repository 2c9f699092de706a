"""When the valve shuts, tries and opens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.line import Line
from worker.valve import TRIAL_MESSAGES, Limits, Valve

LIMITS = Limits(refusals=10, rate=0.5, window_s=60, pause_s=30)


def after(*events: tuple[float, int, int], limits: Limits = LIMITS) -> Valve:
    """A valve that was told of so many changes done and refused at these times."""
    valve = Valve(limits)
    for now, done, refused in events:
        valve = valve.waited(now).counted(now, done, refused)
    return valve


def test_it_shuts_when_count_and_rate_are_both_reached() -> None:
    valve = after((1, 5, 5), (2, 5, 5))
    assert (valve.state, valve.limit(), valve.trial_at) == ("shut", 0, 32)


@pytest.mark.parametrize(
    ("why", "events"),
    [
        ("too few", [(1, 0, 9)]),
        ("among many that are well", [(1, 1000, 5), (2, 1000, 50)]),
        ("spread over more than a window", [(n * 20.0, 0, 3) for n in range(20)]),
        ("nothing ended", [(1, 0, 0)] * 100),
    ],
)
def test_it_stays_open_for_refusals_that_are(
    why: str, events: list[tuple[float, int, int]]
) -> None:
    valve = after(*events)
    assert (valve.state, valve.limit()) == ("open", None), why


def test_what_was_in_work_as_it_shut_changes_nothing() -> None:
    shut = after((1, 0, 10))
    assert shut.counted(2, 1000, 0) == shut == shut.counted(3, 0, 1000)


def test_after_the_pause_one_message_is_let_through() -> None:
    shut = after((1, 0, 10))
    assert shut.waited(30.9) == shut
    trial = shut.waited(31)
    assert (trial.state, trial.limit()) == ("trial", TRIAL_MESSAGES)
    assert trial.counted(32, 0, 0) == trial


@pytest.mark.parametrize(
    ("done", "refused", "state"), [(4, 0, "open"), (9, 1, "open"), (5, 5, "shut"), (0, 1, "shut")]
)
def test_the_trial_decides(done: int, refused: int, state: str) -> None:
    valve = after((1, 0, 10)).waited(31).counted(40, done, refused)
    assert valve.state == state
    if state == "shut":
        assert valve.trial_at == 70
    else:
        assert valve == Valve(LIMITS)


def test_an_open_valve_holds_nothing_against_anybody() -> None:
    valve = after((1, 0, 10), (32, 1, 0), (33, 0, 9))
    assert valve.state == "open"


def test_no_limit_is_no_valve() -> None:
    assert after((1, 0, 10_000), limits=Limits(refusals=0)).state == "open"


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=300
    )
)
def test_it_remembers_one_entry_a_second_and_shuts_as_the_sums_say(
    steps: list[tuple[float, int, int]],
) -> None:
    limits = Limits(refusals=50, rate=0.4, window_s=8, pause_s=1e9)
    valve, now, told = Valve(limits), 0.0, []
    for step, done, refused in steps:
        now += step
        told.append((int(now), done, refused))
        valve = valve.counted(now, done, refused)
        window = [t for t in told if t[0] > now - 8]
        ended, bad = sum(d + r for _, d, r in window), sum(r for _, _, r in window)
        assert len(valve.counts) <= 9
        if valve.state == "shut":
            assert bad >= 50
            assert bad >= 0.4 * ended
            return
        assert bad < 50 or bad < 0.4 * ended or done + refused == 0


def test_an_operators_word_opens_it_at_once() -> None:
    now = [0.0]
    line = Line(LIMITS, lambda: now[0])
    line.counted(0, 10)
    assert line.limit() == 0
    line.open()
    assert line.limit() is None


def test_time_makes_a_trial_of_a_pause() -> None:
    now = [0.0]
    line = Line(LIMITS, lambda: now[0])
    line.counted(0, 10)
    now[0] = 30
    assert line.limit() == TRIAL_MESSAGES
    line.counted(3, 0)
    assert line.limit() is None


def test_it_says_what_shut_it() -> None:
    valve = Valve(LIMITS)
    for now, name in ((1.0, "A"), (1.5, "B"), (2.0, "A"), (2.1, "C"), (2.2, "D")):
        valve = valve.counted(now, 1, 2, {name: 2})
    assert valve.state == "shut"
    assert valve.why == "10 of 15 changes refused in 60 s: A 4, B 2, C 2, …"
    trial = valve.waited(40)
    assert trial.why == valve.why
    assert trial.counted(41, 0, 5, {"A": 5}).why == "in a trial 5 of 5 changes refused: A 5"
    assert trial.counted(41, 5, 0).why == ""


def test_the_clock_on_the_wall_says_since_when_and_until_when() -> None:
    now, wall = [0.0], [1_000_000.0]
    line = Line(LIMITS, lambda: now[0], lambda: wall[0])
    assert (line.since_ms, line.trial_at_ms()) == (1_000_000_000, None)
    wall[0] += 5
    line.counted(0, 10)
    assert line.since_ms == 1_000_005_000
    assert line.trial_at_ms() == 1_000_005_000 + 1_000 * LIMITS.pause_s
    now[0], wall[0] = 30, 1_000_035.0
    line.limit()
    assert (line.since_ms, line.trial_at_ms()) == (1_000_035_000, None)
