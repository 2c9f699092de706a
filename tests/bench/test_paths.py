"""The steps that `python -m bench.paths` times do the work that they are named for."""

from itertools import chain

from bench.carrying import MESSAGE, build_handlers
from bench.corpus import SMALL
from bench.paths import Event, choices, producer_steps, worker_steps
from bench.tables import posts
from tests.chaos.memory import FLAT, Memory


def test_the_workers_handler_applies_every_change_of_an_event() -> None:
    event = Event(500, SMALL)
    handlers = build_handlers(posts, int(event.now.timestamp() * 1000))
    fates = [handlers.changes(payload, MESSAGE) for payload in event.payloads]
    assert sum(fate.applied for fate in fates) == 500
    assert len(fates) > 1, "the boundary between two messages is part of what is timed"


def test_every_step_runs() -> None:
    event = Event(20, SMALL)
    names = []
    for name, work in chain(producer_steps(event), worker_steps(event), choices(event)):
        work()
        names.append(name)
    assert len(names) == len(set(names)) > 30


def test_a_workers_memory_is_flat_while_neither_part_outgrows_the_bound() -> None:
    first = Memory(1_000, main=100.0, child=80.0)
    assert Memory(100_000, main=100.0 * FLAT, child=80.0).is_flat(first)
    assert not Memory(100_000, main=100.0, child=80.0 * FLAT + 1).is_flat(first)
    assert not Memory(100_000, main=100.0 * FLAT + 1, child=80.0).is_flat(first)
