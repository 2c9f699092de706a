"""A clock that jumps while a command runs ends it before a read of that time counts."""

import importlib
import time
from dataclasses import dataclass

import pytest

from console import session
from tests.upkeep import tables as declared
from tests.upkeep.pipeline import LIGHT, Run

pytestmark = pytest.mark.services


@dataclass
class JumpingClock:
    """This host's clock: right until the table is described, then two minutes ahead."""

    asked: int = 0

    def read_ms(self) -> int:
        self.asked += 1
        # A describe looks at it before and after.
        return time.time_ns() // 1_000_000 + (120_000 if self.asked > 2 else 0)


@LIGHT
def test_no_command_reads_the_table_with_a_clock_that_has_jumped(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = run.items.name
    run.create(run.items)
    run.put(run.items, *({"id": f"item-{n}"} for n in range(20)))
    run.workers.start()
    run.sluice_json("backfill", name)
    run.drain()
    for worker in list(run.workers.running):
        run.workers.kill(worker)
    run.remove(run.items, "item-7")
    monkeypatch.setenv("UPKEEP_DEPLOYED", "2")
    importlib.reload(declared)
    run.sluice_json("rebuild", name, "start")
    for command in (("backfill",), ("verify", "--settle", "0"), ("repair",), ("rebuild",)):
        with monkeypatch.context() as wrong:
            wrong.setattr(session, "read_clock_ms", JumpingClock().read_ms)
            code, out, err = run.sluice(command[0], name, *command[1:])
        assert (code, out, "s ahead of DynamoDB's" in err) == (2, "", True), err
    assert run.queues.depth() == 0
    stands = run.sluice_json("rebuild", name, "status")
    assert (stands["phase"], stands["copied"]) == ("copying", 0)
    assert run.sluice_json("rebuild", name, "run")["phase"] == "verified"
