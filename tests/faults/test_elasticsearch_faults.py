"""While Elasticsearch is away, in whatever way, nothing is taken, spent or lost; then all is done.

Real workers, real queues, and a proxy in front of the engine that breaks what passes.
"""

import pytest

from tests.comparison import differences
from tests.faults.conftest import VISIBILITY_S, Stage, set_index
from tests.faults.outages import come_back, go_through
from tests.faults.proxy import Fault
from tests.polling import wait_for
from worker.cluster import path
from worker.probe import HASTE_S
from worker.schema import alias_body, ensure_index

pytestmark = pytest.mark.services

EMBEDDED = pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session")
"""For what the proxy does alone, whatever is behind it."""

TWO = pytest.mark.parametrize(
    "search_engine", ["embedded", "elasticsearch-8"], indirect=True, scope="session"
)
REAL = pytest.mark.parametrize(
    "search_engine", ["elasticsearch-8", "elasticsearch-9"], indirect=True, scope="session"
)

OUTAGES = {
    "503": Fault("status", 503),
    "429": Fault("status", 429),
    "503 to writes alone": Fault("status", 503, path="_bulk"),
    "429 to writes alone": Fault("status", 429, path="_bulk"),
    "reset": Fault("reset"),
}
OUTAGES_IN_PART = {
    "429 for half of each bulk": Fault("partial", 429),
    "503 for half of each bulk": Fault("partial", 503),
}


@EMBEDDED
@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_spends_no_receipt_and_loses_nothing(kind: str, ready: Stage) -> None:
    with ready.proxy.broken(OUTAGES[kind]):
        go_through(ready)
    come_back(ready)


@TWO
@pytest.mark.parametrize("kind", OUTAGES_IN_PART)
def test_an_outage_that_lets_half_through_spends_no_receipt_and_loses_nothing(
    kind: str, ready: Stage
) -> None:
    with ready.proxy.broken(OUTAGES_IN_PART[kind]):
        go_through(ready)
    come_back(ready)


@TWO
def test_a_bulk_whose_answer_is_lost_is_found_to_be_applied(ready: Stage) -> None:
    with ready.proxy.broken(Fault("reset after", path="_bulk")):
        ready.send(6)
        ready.wait_for_line("taking no messages")
    ready.wait_until_drained(25)
    assert ready.proxy.seen["reset after"] >= 1
    # What had been carried out is found there; the rest is applied now.
    found = [line["applied"] for line in ready.lines("chunk applied")[1:]]
    assert 0 in found
    assert set(ready.receives()) == {1}
    ready.check()


@TWO
def test_a_cluster_that_is_down_when_a_worker_starts_is_waited_for(stage: Stage) -> None:
    stage.send()
    with stage.proxy.down():
        worker = stage.workers.start()
        stage.wait_for_line("waiting for the cluster")
        assert stage.in_flight() == 0
        assert worker.poll() is None
    come_back(stage, 25)


@TWO
def test_a_cluster_that_goes_down_in_the_middle_is_waited_for(ready: Stage) -> None:
    ready.send(40, prefix="before")
    wait_for("some work", lambda: len(ready.receives()) > 5)
    with ready.proxy.down():
        ready.wait_for_line("taking no messages")
        go_through(ready)
    come_back(ready)


@TWO
def test_work_slower_than_the_visibility_timeout_is_not_handed_out_twice(ready: Stage) -> None:
    ready.workers.start(SLUICE_LOG_LEVEL="DEBUG")  # with nothing to do: it would take them
    ready.wait_for_line("worker starts", more_than=1)
    with ready.proxy.broken(Fault("delay", seconds=2.5 * VISIBILITY_S, path="_bulk")):
        ready.send(2)
        ready.wait_until_drained(30)
    assert ready.receives() == [1, 1, 1]
    ready.check()


@EMBEDDED
def test_a_cluster_that_never_answers_is_an_outage(stage: Stage) -> None:
    stage.workers.start(SLUICE_ELASTICSEARCH_TIMEOUT_S="2")
    stage.send(1, prefix="first")
    stage.wait_for_line("chunk applied")
    with stage.proxy.broken(Fault("hang")):
        go_through(stage)
    come_back(stage)


@EMBEDDED
def test_the_return_of_a_cluster_that_hung_is_noticed_within_seconds(ready: Stage) -> None:
    """SLUICE_ELASTICSEARCH_TIMEOUT_S is a minute, the default: no trial may run into the hang."""
    with ready.proxy.down():
        go_through(ready, 1)
        ready.proxy.set(Fault("hang"))
    wait_for("questions that hang", lambda: ready.proxy.seen["hang"] >= 2, seconds=25)
    ready.proxy.set(None)
    come_back(ready)


@EMBEDDED
def test_a_cluster_that_comes_back_slow_is_worked_with(ready: Stage) -> None:
    with ready.proxy.broken(Fault("status", 503)):
        ready.send(2, prefix="slow")
        ready.wait_for_line("taking no messages")
        ready.proxy.set(Fault("delay", seconds=1.1 * HASTE_S))
        ready.wait_until_drained(60)
    come_back(ready)


@EMBEDDED
def test_a_task_cut_while_the_cluster_is_slow_spends_no_receipt(stage: Stage) -> None:
    limit_s = 10  # the shortest; it is cut after nine tenths of it
    stage.workers.start(SLUICE_TASK_LIMIT_S=str(limit_s))
    stage.send(1, prefix="first")
    stage.wait_for_line("chunk applied")
    with stage.proxy.broken(Fault("delay", seconds=limit_s + 2, path="_bulk")):
        stage.send(6, prefix="slow")
        stage.wait_for_line("taking no messages")
        stage.wait_for_line("time was over before Elasticsearch answered")
    come_back(stage, 25)


@REAL
def test_a_read_only_index_is_an_outage(ready: Stage) -> None:
    # What Elasticsearch itself sets when a disk passes its flood stage.
    set_index(ready, **{"blocks.read_only_allow_delete": True})
    go_through(ready)
    set_index(ready, **{"blocks.read_only_allow_delete": None})
    come_back(ready)


def make_red(stage: Stage) -> None:
    """Make the table's index anew, as it is, with its shards where no node is."""
    name = stage.table.index_name(1)
    ensure_index(stage.cluster, stage.table)
    index = stage.cluster.request("GET", path(name)).body[name]
    assert stage.cluster.request("DELETE", path(name)).status == 200
    body = {
        "mappings": index["mappings"],
        "aliases": index["aliases"],
        "settings": {"index.routing.allocation.require._name": "no-such-node"},
    }
    answer = stage.cluster.request(
        "PUT", path(name), params={"wait_for_active_shards": "0"}, body=body
    )
    assert answer.status == 200, answer


@REAL
def test_a_red_index_is_an_outage(stage: Stage) -> None:
    make_red(stage)
    # Left alone, Elasticsearch answers a write to a red shard after a minute.
    stage.workers.start(SLUICE_ELASTICSEARCH_TIMEOUT_S="2")
    go_through(stage, 2 * VISIBILITY_S)
    set_index(stage, **{"routing.allocation.require._name": None})
    come_back(stage)


def change_alias(stage: Stage, action: str, alias: str, **more: object) -> None:
    step = {action: {"index": stage.table.index_name(1), "alias": alias, **more}}
    answer = stage.cluster.request("POST", path("_aliases"), body={"actions": [step]})
    assert answer.status == 200, answer


def test_a_missing_alias_is_an_outage(ready: Stage) -> None:
    table = ready.table
    change_alias(ready, "remove", table.write_alias)
    change_alias(ready, "remove", table.alias)
    go_through(ready)
    change_alias(ready, "add", table.alias, **alias_body())
    change_alias(ready, "add", table.write_alias, is_write_index=True)
    come_back(ready)


@TWO
def test_a_worker_does_not_start_on_an_index_that_lost_its_aliases(stage: Stage) -> None:
    ensure_index(stage.cluster, stage.table)
    change_alias(stage, "remove", stage.table.write_alias)
    change_alias(stage, "remove", stage.table.alias)
    stage.send(2)
    assert stage.workers.start().wait(60) == 2
    assert f"the alias {stage.table.alias} covers 0 of its indexes" in stage.workers.logs()
    assert stage.in_flight() == 0


@TWO
def test_a_deleted_index_is_an_outage_until_a_worker_starts_and_makes_an_empty_one(
    ready: Stage,
) -> None:
    lost = sorted(ready.items)
    answer = ready.cluster.request("DELETE", path(ready.table.index_name(1)))
    assert answer.status == 200, answer
    go_through(ready)
    ready.workers.start()
    ready.wait_for_line("is new and empty")
    ready.wait_until_drained(25)
    assert set(ready.receives()) == {1}, ready.workers.logs()
    assert ready.queues.drain_dead() == []
    # What it held comes back only from the table: `sluice backfill`.
    assert differences(ready.cluster, ready.table, ready.items) == {"missing": lost}
