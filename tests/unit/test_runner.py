"""An owner's function ends in its time, or is cut; what it raises reaches the caller."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from worker.runner import ExitedError, Runner, TimeLimitExceeded, Work

SOON = 0.2
LONG = 30.0


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()


def sleep_on() -> None:
    try:
        time.sleep(LONG)
    except Exception:  # noqa: BLE001 - an owner who catches everything
        time.sleep(LONG)


def spin_on() -> None:
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        pass


async def await_on() -> None:
    await asyncio.sleep(LONG)


async def block_on() -> None:
    time.sleep(3)  # noqa: ASYNC251 - an owner's mistake


def leave() -> None:
    raise SystemExit(3)


async def leave_async() -> None:
    raise SystemExit(3)


def fail() -> None:
    raise ValueError("no")


async def fail_async() -> None:
    await asyncio.sleep(0)
    raise ValueError("no")


async def wait_in_vain() -> None:
    raise TimeoutError("a client's own")


@pytest.mark.parametrize("function", [sleep_on, spin_on, await_on, block_on])
def test_what_takes_too_long_is_cut(function: Callable[[], object], runner: Runner) -> None:
    before = time.monotonic()
    with pytest.raises(TimeLimitExceeded):
        runner.run(Work(function, (), SOON))
    assert time.monotonic() - before < LONG / 3


@pytest.mark.parametrize("function", [spin_on, await_on])
def test_what_takes_too_long_is_cut_off_the_main_thread_too(
    function: Callable[[], object], runner: Runner
) -> None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            runner.run(Work(function, (), SOON))
        except Exception as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(LONG / 3)
    assert [type(error) for error in raised] == [TimeLimitExceeded]


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (fail, ValueError),
        (fail_async, ValueError),
        (leave, ExitedError),
        (leave_async, ExitedError),
        (wait_in_vain, TimeoutError),
    ],
)
def test_what_a_function_raises_reaches_the_caller(
    function: Callable[[], object], kind: type[Exception], runner: Runner
) -> None:
    with pytest.raises(kind):
        runner.run(Work(function, (), LONG))
    (outcome,) = runner.run_all([Work(function, (), LONG)])
    assert type(outcome) is kind


def test_a_loop_that_is_blocked_is_left_for_a_new_one(runner: Runner) -> None:
    done: list[str] = []

    async def note() -> None:
        done.append("done")

    with pytest.raises(TimeLimitExceeded):
        runner.run(Work(block_on, (), SOON))
    runner.run(Work(note, (), SOON))
    assert done == ["done"]


def test_what_is_cut_off_the_main_thread_ends(runner: Runner) -> None:
    ended = threading.Event()

    def spin() -> None:
        try:
            spin_on()
        finally:
            ended.set()

    runner.run_all([Work(spin, (), SOON)])
    assert ended.wait(LONG / 3)


def test_an_async_function_finds_the_loop_of_its_homes_last_call(runner: Runner) -> None:
    loops: dict[str, set[int]] = {"a": set(), "b": set()}
    kept: list[object] = []

    async def note(home: str) -> None:
        kept.append(asyncio.get_running_loop())
        loops[home].add(id(kept[-1]))

    a, b = Work(note, ("a",), LONG, "a"), Work(note, ("b",), LONG, "b")
    runner.run(a)
    runner.run(a)
    assert runner.run_all([a, b, a, b]) == [None] * 4
    assert len(kept) == 6
    assert [len(found) for found in loops.values()] == [1, 1]
    assert loops["a"] != loops["b"]


def test_an_async_function_that_blocks_holds_up_no_other_home(runner: Runner) -> None:
    async def note() -> None:
        await asyncio.sleep(0)

    outcomes = runner.run_all([Work(block_on, (), SOON, "a"), Work(note, (), SOON, "b")])
    assert [type(outcome) for outcome in outcomes] == [TimeLimitExceeded, type(None)]


def test_a_loop_that_was_left_ends_once_it_is_free(runner: Runner) -> None:
    ended = threading.Event()

    async def block() -> None:
        threads.append(threading.current_thread())
        try:
            await asyncio.sleep(0)
            ended.wait(LONG)
            await asyncio.sleep(LONG)
        finally:
            cancelled.append(True)

    threads: list[threading.Thread] = []
    cancelled: list[bool] = []
    with pytest.raises(TimeLimitExceeded):
        runner.run(Work(block, (), SOON))
    ended.set()
    threads[0].join(LONG / 3)
    assert not threads[0].is_alive()
    assert cancelled == [True]


def test_all_run_at_once_and_one_that_fails_or_hangs_stops_no_other(runner: Runner) -> None:
    meeting = threading.Barrier(2)
    done: list[str] = []

    def meet() -> None:
        meeting.wait(LONG)
        done.append("met")

    outcomes = runner.run_all(
        [
            Work(meet, (), LONG),
            Work(fail, (), LONG),
            Work(spin_on, (), SOON),
            Work(meet, (), LONG),
        ]
    )
    assert done == ["met", "met"]
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [type(None), ValueError, TimeLimitExceeded, type(None)]
