"""A rebuild killed in the middle of its check compares only the rest when it is repeated."""

import importlib
import signal
from typing import Any

import pytest

from console.errors import InterruptedByUserError
from console.rebuild.check import Check
from console.scan import Page, TableReader
from tests.polling import wait_for
from tests.upkeep import tables as declared
from tests.upkeep.pipeline import HEAVY, Run

pytestmark = pytest.mark.services

ITEMS = 400


def copy_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild that is interrupted right before its check."""

    def interrupt(self: Check) -> int:
        raise InterruptedByUserError("interrupted")

    with monkeypatch.context() as before_the_check:
        before_the_check.setattr(Check, "run", interrupt)
        code, _, err = run.sluice("rebuild", run.items.name)
        assert code == 130, err
    assert run.sluice_json("rebuild", run.items.name, "status")["phase"] == "copied"


@HEAVY
def test_a_rebuild_killed_in_the_middle_of_its_check_goes_on_where_it_was(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = run.items.name
    run.create(run.items)
    run.put(run.items, *({"id": f"{n:03}", "title": "x" * 3_000} for n in range(ITEMS)))
    run.workers.start()
    run.sluice_json("backfill", name)
    run.drain()
    monkeypatch.setenv("UPKEEP_DEPLOYED", "2")
    importlib.reload(declared)
    copy_all(run, monkeypatch)

    def status() -> dict[str, Any]:
        return run.sluice_json("rebuild", name, "status")

    # So slow that there is a middle to be killed in.
    process = run.spawn("rebuild", name, "run", "--rcu", "20", "--concurrency", "1")
    wait_for("the check to be in its middle", lambda: status()["checked"] > ITEMS // 8)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    stands = status()
    assert (stands["phase"], stands["checked"] < ITEMS) == ("copied", True)

    read: list[int] = []
    scan = TableReader.scan

    def count(self: TableReader, *arguments: Any, **options: Any) -> Page:
        page = scan(self, *arguments, **options)
        read.append(len(page.items))
        return page

    monkeypatch.setattr(TableReader, "scan", count)
    said = run.sluice_json("rebuild", name, "run")
    assert (said["phase"], said["differences"], said["checked"]) == ("verified", 0, 0)
    assert sum(read) == ITEMS - stands["checked"]
    run.sluice_json("rebuild", name, "swap")
    run.sluice_json("rebuild", name, "finish")
    assert run.sluice_json("verify", name, "--settle", "0")["differences"] == {}
