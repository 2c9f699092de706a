"""A bad deploy stops the line: what it refuses is bounded, and a good one applies the rest."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.comparison import differences
from tests.faults.conftest import CONCURRENCY, Stage
from tests.polling import wait_for

pytestmark = [
    pytest.mark.services,
    pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session"),
]

REFUSALS = 20
CHUNK = 5
MESSAGES = 120
IN_WORK = 2 * CONCURRENCY * CHUNK
"""Changes taken before the valve shut: in the children, and in the answer of an open poll."""

LIMITS = {
    "SLUICE_VALVE_REFUSALS": str(REFUSALS),
    "SLUICE_VALVE_RATE": "50",
    "SLUICE_VALVE_WINDOW_S": "60",
}


def test_a_bad_deploy_does_not_drain_the_stream_into_the_dead_letter_queue(
    stage: Stage, tmp_path: Path
) -> None:
    health = tmp_path / "health"
    stage.send(MESSAGES, changes=CHUNK - 1)
    bad = stage.workers.start(
        FAULTS_BAD_DEPLOY="1",
        SLUICE_VALVE_PAUSE_S="600",
        SLUICE_HEALTH_FILE=str(health),
        **LIMITS,
    )
    stage.wait_for_line("the valve is shut")
    wait_for("work to end", lambda: stage.in_flight() == 0)
    wait_for("its state", lambda: read(health).get("valve") == "shut")
    left = stage.queues.depth()
    time.sleep(2)  # nothing more may happen: there is nothing to wait for
    assert stage.queues.depth() == left >= MESSAGES - (REFUSALS + IN_WORK) // CHUNK - 1
    stage.workers.kill(bad)
    stage.workers.start(**LIMITS)
    stage.wait_until_drained(30)
    letters = stage.queues.drain_dead()
    assert REFUSALS <= len(letters) <= REFUSALS + IN_WORK
    assert {attributes["sluice-error"] for _, attributes in letters} == {"ValueError"}
    # What was refused is all that is missing, and a redrive brings it.
    (kind,) = differences(stage.cluster, stage.table, stage.items).keys()
    assert kind == "missing"
    stage.queues.send([body for body, _ in letters])
    stage.wait_until_drained(20)
    stage.check()


def redrive(stage: Stage) -> None:
    stage.queues.send([body for body, _ in stage.queues.drain_dead()])
    stage.wait_until_drained(20)
    stage.check()


def test_a_trial_that_goes_well_opens_it_and_one_that_does_not_shuts_it(
    stage: Stage, tmp_path: Path
) -> None:
    flag = tmp_path / "mended"
    stage.send(MESSAGES // 4, changes=CHUNK - 1)
    stage.workers.start(FAULTS_BAD_UNTIL=str(flag), SLUICE_VALVE_PAUSE_S="2", **LIMITS)
    stage.wait_for_line("as a trial")
    stage.wait_for_line("the valve is shut", more_than=1)
    flag.touch()
    stage.wait_for_line("the valve is open")
    stage.wait_until_drained(20)
    redrive(stage)


def test_an_operators_word_opens_it_at_once(stage: Stage, tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    stage.send(MESSAGES // 4, changes=CHUNK - 1)
    worker = stage.workers.start(FAULTS_BAD_UNTIL=str(flag), SLUICE_VALVE_PAUSE_S="600", **LIMITS)
    stage.wait_for_line("the valve is shut")
    flag.touch()
    worker.send_signal(signal.SIGUSR2)
    stage.wait_for_line("opened by an operator")
    stage.wait_until_drained(20)
    redrive(stage)


def test_a_handler_that_guards_the_valve_stops_the_line_and_its_letters_run_it_alone(
    stage: Stage, tmp_path: Path
) -> None:
    flag = tmp_path / "mended"
    stage.send(MESSAGES // 4, changes=CHUNK - 1)
    stage.workers.start(FAULTS_BAD_HANDLER_UNTIL=str(flag), SLUICE_VALVE_PAUSE_S="2", **LIMITS)
    stage.wait_for_line("the valve is shut", more_than=1)
    waiting = stage.queues.depth()
    assert waiting > 0
    flag.touch()
    stage.wait_for_line("the valve is open")
    stage.wait_until_drained(20)
    letters = stage.queues.drain_dead()
    assert REFUSALS <= len(letters) <= CHUNK * (MESSAGES // 4) - waiting
    assert {attributes["sluice-error"] for _, attributes in letters} == {"KeyError"}
    # The index took everything: only the handler is behind, and the letters are for it alone.
    assert differences(stage.cluster, stage.table, stage.items) == {}
    applied = len(stage.lines("chunk applied"))
    stage.queues.send([body for body, _ in letters])
    stage.wait_until_drained(20)
    stage.check()
    assert len(stage.lines("chunk applied")) == applied


def read(file: Path) -> dict[str, object]:
    return dict(json.loads(file.read_text())) if file.exists() else {}
