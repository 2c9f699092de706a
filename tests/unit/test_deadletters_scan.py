"""A scan sees every message of a queue that hands them out as it likes, hides none, and ends."""

import random
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.deadletters.model import Received
from console.deadletters.peek import peek
from console.deadletters.scan import (
    HOLD_MOST_S,
    HOLD_S,
    PAGE,
    Pace,
    Scan,
    Step,
    hold_seconds,
)
from console.deadletters.sweep import Sweep

BEGAN_MS = 1_000


@dataclass
class MemoryLetters:
    """`Letters` whose clock only moves by polls, with the orders that queues are known to have."""

    messages: dict[str, int]
    """When each was sent."""
    order: str
    rng: random.Random
    now: float = 0.0
    hidden: dict[str, float] = field(default_factory=dict)
    """Until when."""
    receipts: int = 0
    arriving: list[str] = field(default_factory=list)
    receives: int = 0

    def receive(self, most: int, hold_s: int) -> list[Received]:
        self.receives += 1
        assert self.receives < 5_000, "the scan does not end"
        self.now += 0.02
        if self.arriving:
            self.messages[self.arriving.pop()] = BEGAN_MS + 1
        visible = [m for m in self.messages if self.hidden.get(m, 0) <= self.now]
        if self.order == "random":
            self.rng.shuffle(visible)
        elif self.order == "round":
            visible.sort(key=lambda m: self.hidden.get(m, 0))
        page = visible[: self.rng.randint(1, most)]
        if not page:
            self.now += 1
        for message in page:
            self.hidden[message] = self.now + hold_s
        return [Received(m, m, "body", {}, self.messages[m], 1, False) for m in page]

    def release(self, receipts: Collection[str]) -> int:
        for message in receipts:
            self.hidden[message] = self.now
        return 0

    def count(self) -> int:
        return len(self.messages)

    def clock(self) -> float:
        return self.now


@dataclass
class Taker:
    """Work that notes what it is given and removes some of it."""

    letters: MemoryLetters
    remove: frozenset[str] = frozenset()
    taken: list[str] = field(default_factory=list)

    def room(self) -> int:
        return 10

    def take(self, page: Sequence[Received]) -> Collection[str]:
        self.taken += [message.id for message in page]
        gone = {message.id for message in page} & self.remove
        for message in gone:
            del self.letters.messages[message], self.letters.hidden[message]
        return gone


def sweep(letters: MemoryLetters, work: Taker, patience_s: float = 3) -> Sweep:
    return Sweep(letters, work, threading.Event(), BEGAN_MS, patience_s, letters.clock, 0)


@settings(max_examples=200)
@given(
    count=st.integers(0, 120),
    order=st.sampled_from(["first", "round", "random"]),
    removed=st.floats(0, 1),
    arriving=st.integers(0, 30),
    seed=st.integers(0, 2**32),
)
def test_a_scan_handles_every_message_once_and_hides_none_afterwards(
    count: int, order: str, removed: float, arriving: int, seed: int
) -> None:
    rng = random.Random(seed)
    names = [f"m{n}" for n in range(count)]
    letters = MemoryLetters(
        dict.fromkeys(names, 0), order, rng, arriving=[f"late{n}" for n in range(arriving)]
    )
    gone = frozenset(name for name in names if rng.random() < removed)
    work = Taker(letters, gone)
    outcome = sweep(letters, work).run()
    assert sorted(work.taken) == sorted(names)
    assert (outcome.missed, outcome.seen, outcome.hidden) == (0, count, 0)
    assert set(names) - set(letters.messages) == gone
    assert all(until <= letters.now for until in letters.hidden.values())
    assert letters.now < HOLD_S, "it ends by having seen all, not by waiting"


def test_a_message_is_given_back_as_soon_as_it_is_read() -> None:
    letters = MemoryLetters({f"m{n}": 0 for n in range(40)}, "round", random.Random(1))
    hidden: list[int] = []

    class Watching(Taker):
        def room(self) -> int:
            if len(self.taken) < 40:
                hidden.append(sum(until > letters.now for until in letters.hidden.values()))
            return 10

    assert sweep(letters, Watching(letters)).run().missed == 0
    assert set(hidden) == {0}


def test_a_message_that_another_reader_holds_is_waited_for() -> None:
    letters = MemoryLetters({"a": 0, "b": 0}, "first", random.Random(1))
    letters.hidden["b"] = 2.0
    work = Taker(letters)
    assert sweep(letters, work).run().missed == 0
    assert work.taken == ["a", "b"]
    assert letters.now < 8


def test_one_that_stays_hidden_is_counted_as_missed() -> None:
    letters = MemoryLetters({"a": 0, "b": 0}, "first", random.Random(1))
    letters.hidden["b"] = 1e9
    work = Taker(letters)
    assert sweep(letters, work).run().missed == 1
    assert work.taken == ["a"]


def test_a_stopped_scan_gives_back_what_it_holds() -> None:
    letters = MemoryLetters({f"m{n}": 0 for n in range(30)}, "first", random.Random(1))

    class Stopping(Taker):
        def room(self) -> int:
            if letters.receives == 4:
                one.stop.set()
            return 10

    one = sweep(letters, Stopping(letters))
    assert one.run().interrupted
    assert all(until <= letters.now for until in letters.hidden.values())


def test_a_scan_whose_work_fails_gives_back_what_it_holds() -> None:
    letters = MemoryLetters({f"m{n}": 0 for n in range(30)}, "first", random.Random(1))

    class Failing(Taker):
        def take(self, page: Sequence[Received]) -> Collection[str]:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        sweep(letters, Failing(letters)).run()
    assert all(until <= letters.now for until in letters.hidden.values())


def test_a_page_that_came_too_late_is_not_handled_until_it_comes_again() -> None:
    letters = MemoryLetters({"a": 0}, "first", random.Random(1))

    class Slow(MemoryLetters):
        def receive(self, most: int, hold_s: int) -> list[Received]:
            page = super().receive(most, hold_s)
            if self.receives == 1:
                self.now += hold_s * 0.6
            return page

    slow = Slow({"a": 0}, "first", letters.rng)
    work = Taker(slow)
    assert sweep(slow, work).run().missed == 0
    assert work.taken == ["a"]
    assert slow.receives >= 3


def test_a_poll_in_vain_proves_nothing_while_the_queue_reports_more() -> None:
    scan = Scan(BEGAN_MS, 5, 15, 0)
    scan.sort([("a", 0), ("late", BEGAN_MS + 1)], 0)
    assert scan.decide_step(3, 5) is Step.GIVE_BACK
    assert scan.decide_step(3, 5.1) is Step.PARTIAL
    assert scan.decide_step(2, 0) is Step.COMPLETE


def test_what_was_removed_but_comes_again_counts_as_there() -> None:
    scan = Scan(BEGAN_MS, 5, 15, 0)
    assert scan.sort([("a", 0)], 0).fresh == ("a",)
    scan.remove(["a"])
    assert scan.unseen(1) == 1
    assert scan.sort([("a", 0)], 0).again == ("a",)
    assert scan.unseen(1) == 0


def test_endless_repetition_is_stale_after_the_hold_and_the_patience() -> None:
    scan = Scan(BEGAN_MS, 5, 15, 0)
    assert not scan.is_stale(20)
    assert scan.is_stale(20.1)


@given(st.integers(0, 10**6))
def test_a_hold_is_short_and_grows_with_the_queue(count: int) -> None:
    assert HOLD_S <= hold_seconds(count) <= HOLD_MOST_S
    assert hold_seconds(count) <= hold_seconds(count + 1000)


@given(st.floats(0.01, 10_000), st.integers(0, 10**6))
def test_a_pace_never_passes_its_rate_by_more_than_a_page(rate: float, moved: int) -> None:
    pace = Pace(rate)
    elapsed = pace.wait_s(moved, 0.0)
    assert moved <= rate * elapsed * (1 + 1e-9)
    assert 1 <= pace.page() <= 10
    assert pace.page() <= max(1, rate)


def test_without_a_rate_nothing_waits() -> None:
    assert (Pace().wait_s(10**6, 0), Pace().page()) == (0, 10)


@dataclass
class MemoryPair(MemoryLetters):
    """The same as the dead-letter queue of a pair."""

    now_ms: int = BEGAN_MS


def look(letters: MemoryLetters, **bounds: Any) -> Any:
    pair: Any = letters
    return peek(pair, clock=letters.clock, **bounds)


@given(count=st.integers(0, 60), most=st.integers(0, 80), seed=st.integers(0, 2**32))
def test_a_peek_is_bounded_and_hides_nothing_afterwards(count: int, most: int, seed: int) -> None:
    rng = random.Random(seed)
    letters = MemoryPair({f"m{n}": 0 for n in range(count)}, "random", rng)
    seen = look(letters, most=most, seconds=1_000.0)
    assert seen.seen == len(seen.found) <= most + PAGE
    assert seen.complete == (most > 0 and (count == 0 or seen.seen == count < most))
    assert all(until <= letters.now for until in letters.hidden.values())


def test_a_peek_ends_after_its_time_and_waits_for_no_other_reader() -> None:
    letters = MemoryPair({f"m{n}": 0 for n in range(500)}, "round", random.Random(1))
    seen = look(letters, most=10_000, seconds=0.3)
    assert (letters.now < 1, 0 < seen.seen < 500, seen.complete) == (True, True, False)
    letters = MemoryPair({"a": 0, "b": 0}, "first", random.Random(1))
    letters.hidden["b"] = 1e9
    assert (look(letters).complete, letters.now < 3) == (False, True)
