"""The queueing model, and the scaling policy of infra/ within it: no oscillation, no starvation."""

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus import make_posts
from bench.pooling import EVENT, count_chunk
from bench.simulation.model import Outcome, Pool, Spike, simulate, size_pool
from bench.simulation.policy import Policy

INFRA = Path(__file__).parents[2] / "infra"
POOL = Pool(process_rate=500)
POLICY = Policy()
ONE_TASK = POOL.process_rate * POLICY.concurrency
"""Changes a second that one task carries."""


def moves(outcome: Outcome) -> list[int]:
    """The number of tasks wanted, each time that it changed."""
    wanted = [second.desired for second in outcome.seconds]
    return [now for before, now in pairwise([wanted[0], *wanted]) if now != before]


@pytest.mark.parametrize(
    "name", ["concurrency", "min_tasks", "max_tasks", "backlog_per_task", "burst_factor"]
)
def test_the_policys_numbers_are_the_defaults_of_the_terraform(name: str) -> None:
    text = (INFRA / "variables.tf").read_text()
    worker = text[text.index('variable "worker"') :]
    found = re.search(rf"\b{name}\s*=\s*optional\(number, (\d+)\)", worker)
    assert found is not None
    assert getattr(POLICY, name) == int(found[1])


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("out_cooldown_s", r"scale_out_cooldown = (\d+)"),
        ("in_cooldown_s", r'policy" "idle"(?s:.*?)\n    cooldown\s+= (\d+)'),
        ("in_period_s", r"idle_period_s\s+= (\d+)"),
        ("in_periods", r'alarm" "idle"(?s:.*?)\n  evaluation_periods  = (\d+)'),
        ("idle_share", r"idle_share\s+= ([\d.]+)"),
        ("burst_cooldown_s", r'policy" "burst"(?s:.*?)\n    cooldown\s+= (\d+)'),
        ("burst_percent", r"upper_bound = .*\n\s+scaling_adjustment\s+= (\d+)"),
        ("flood_percent", r"lower_bound = 4 .*\n\s+scaling_adjustment\s+= (\d+)"),
        ("flood_factor", r"upper_bound = (\d+) \* var.worker.burst_factor"),
    ],
)
def test_the_policys_constants_are_those_of_the_scaling(name: str, pattern: str) -> None:
    found = re.search(pattern, (INFRA / "worker.tf").read_text())
    assert found is not None
    assert getattr(POLICY, name) == float(found[1])


def test_a_message_of_the_model_holds_what_one_of_the_producer_holds() -> None:
    """Else the model scales on other numbers of messages than the queue has."""
    assert round(count_chunk(make_posts(EVENT, prefix="p"))) == Pool(process_rate=1).chunk


@settings(max_examples=12)
@given(
    share=st.floats(0.01, 0.9),
    factor=st.floats(1, 200),
    length=st.integers(10, 600),
)
def test_no_change_is_lost_or_made(share: float, factor: float, length: int) -> None:
    spike = Spike(base=share * ONE_TASK, factor=factor, length_s=length)
    outcome = simulate(spike, POOL, POLICY, length_s=1800)
    came = sum(second.came for second in outcome.seconds)
    done = sum(second.done for second in outcome.seconds)
    assert math.isclose(came, done + outcome.seconds[-1].waiting, rel_tol=1e-6)


@settings(max_examples=12)
@given(
    share=st.floats(0.01, 0.9),
    factor=st.floats(1, 200),
    length=st.integers(10, 600),
)
def test_after_one_spike_tasks_go_up_once_and_down_once(
    share: float, factor: float, length: int
) -> None:
    """Where the least number of tasks carries the base, nothing swings."""
    spike = Spike(base=share * ONE_TASK, factor=factor, length_s=length)
    wanted = moves(simulate(spike, POOL, POLICY, length_s=2 * 3600))
    top = wanted.index(max(wanted)) if wanted else 0
    assert wanted[: top + 1] == sorted(wanted[: top + 1])
    assert wanted[top:] == sorted(wanted[top:], reverse=True)


@settings(max_examples=12)
@given(share=st.floats(0.01, 6))
def test_under_any_steady_load_it_goes_out_then_in_to_a_number_that_stays(share: float) -> None:
    """No oscillation, also where the load lies between two numbers of tasks."""
    outcome = simulate(Spike(base=share * ONE_TASK), POOL, POLICY, length_s=2 * 3600)
    wanted = moves(outcome)
    top = wanted.index(max(wanted)) if wanted else 0
    assert wanted[:top] == sorted(wanted[:top])
    assert wanted[top:] == sorted(wanted[top:], reverse=True)
    settled = outcome.seconds[5400:]
    assert len({second.desired for second in settled}) == 1


def test_a_pool_that_stays_is_no_larger_than_its_load_needs() -> None:
    """A task goes as long as the others would have room to spare."""
    for share, tasks in ((0.5, 1), (1.3, 2), (2.0, 3)):
        spike = Spike(base=share * ONE_TASK, factor=20, length_s=120)
        outcome = simulate(spike, POOL, POLICY, length_s=2 * 3600)
        assert outcome.most_tasks == POLICY.max_tasks
        assert outcome.seconds[-1].desired == tasks, share


def test_a_pool_that_may_be_busy_without_room_to_spare_would_swing() -> None:
    """What `idle_share` is for: the tests above can fail."""
    greedy = replace(POLICY, idle_share=1.2)
    outcome = simulate(Spike(base=3.2 * ONE_TASK), POOL, greedy, length_s=2 * 3600)
    assert len(outcome.turns) > 3


@settings(max_examples=12)
@given(share=st.floats(0.01, 0.95))
def test_a_load_that_the_most_tasks_can_carry_never_starves(share: float) -> None:
    """However the scaling moves, no change waits longer than a quarter of an hour."""
    most = POLICY.max_tasks * ONE_TASK
    outcome = simulate(Spike(base=share * most), POOL, POLICY, length_s=2 * 3600)
    assert outcome.longest_lag_s < 900


def test_a_load_beyond_the_most_tasks_brings_all_of_them_and_no_more() -> None:
    outcome = simulate(Spike(base=6 * ONE_TASK), POOL, POLICY, length_s=3600)
    assert outcome.most_tasks == POLICY.max_tasks
    assert {second.tasks for second in outcome.seconds[1200:]} == {POLICY.max_tasks}


def test_a_burst_is_answered_within_minutes_not_after_the_three_of_target_tracking() -> None:
    spike = Spike(base=0.5 * ONE_TASK, factor=400, length_s=60)
    outcome = simulate(spike, POOL, POLICY, length_s=1800)
    scaled = next(s.at for s in outcome.seconds if s.desired > POLICY.min_tasks)
    assert scaled - spike.start_s <= 180


def test_the_clusters_limit_bounds_what_any_number_of_tasks_does() -> None:
    pool = Pool(process_rate=500, cluster_rate=1000)
    outcome = simulate(Spike(base=900, factor=10), pool, POLICY, length_s=3600)
    assert max(second.done for second in outcome.seconds) <= 1000
    assert size_pool(Spike(base=900, factor=10), pool, POLICY, drained_s=60) is None


def test_the_least_number_of_tasks_is_found() -> None:
    spike = Spike(base=100, factor=100, length_s=60)
    needed = size_pool(spike, POOL, POLICY, drained_s=60)
    assert needed is not None
    fewer = simulate(spike, POOL, POLICY, length_s=600, tasks=needed - 1)
    assert fewer.drained_after_s > 60


def test_a_queue_that_is_never_deeper_than_a_second_has_no_lag_to_speak_of() -> None:
    outcome = simulate(Spike(base=100), POOL, POLICY, length_s=600)
    assert outcome.longest_lag_s <= 1
    assert outcome.drained_after_s == 0
