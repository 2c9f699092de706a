"""Whether the probe tells a cluster that does its work from one that does not, on every engine."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.proxy import Fault, proxying
from tests.polling import wait_for
from tests.services.engines import Engine
from worker.cluster import Cluster, connect, path
from worker.inquiry import Standing
from worker.probe import HASTE_S, Lookout, look
from worker.schema import ensure_index
from worker.tables import Table

REAL = pytest.mark.parametrize(
    "search_engine", ["elasticsearch-8", "elasticsearch-9"], indirect=True, scope="session"
)


@pytest.fixture
def cluster(search_engine: Engine) -> Iterator[Cluster]:
    connection = connect(search_engine.url, timeout_s=30)
    yield connection
    connection.close()


@pytest.fixture
def tables(cluster: Cluster, fresh_name: str) -> list[Table[Any]]:
    tables: list[Table[Any]] = [Table(f"{fresh_name}-a"), Table(f"{fresh_name}-b")]
    for table in tables:
        ensure_index(cluster, table)
    return tables


def test_it_is_well_and_the_probe_leaves_nothing(
    cluster: Cluster, tables: list[Table[Any]]
) -> None:
    assert look(cluster, tables, HASTE_S) == "well"
    alias = tables[0].write_alias
    cluster.request("POST", path(alias, "_refresh"))
    answer = cluster.request("GET", path(alias, "_search"))
    assert answer.body["hits"]["hits"] == []


def test_without_one_alias_it_is_not(cluster: Cluster, tables: list[Table[Any]]) -> None:
    absent: Table[Any] = Table(f"{tables[0].name}-absent")
    assert look(cluster, [*tables, absent], HASTE_S) == "refusing"


def test_where_the_mapping_requires_a_routing_it_is_writable(
    cluster: Cluster, tables: list[Table[Any]], fresh_name: str
) -> None:
    required = {"_routing": {"required": True}}
    routed: Table[Any] = Table(f"{fresh_name}-routed", mappings=required, routing=("id",))
    ensure_index(cluster, routed)
    assert look(cluster, [*tables, routed], HASTE_S) == "well"


@REAL
@pytest.mark.parametrize("block", ["read_only_allow_delete", "write"])
def test_with_one_index_blocked_it_is_not(
    block: str, cluster: Cluster, tables: list[Table[Any]]
) -> None:
    settings = {f"index.blocks.{block}": True}
    cluster.request("PUT", path(tables[1].index_name(1), "_settings"), body=settings)
    assert look(cluster, tables, HASTE_S) == "refusing"


@pytest.mark.parametrize(
    ("fault", "standing"),
    [
        (Fault("status", 503), "refusing"),
        (Fault("status", 429, path="_bulk"), "refusing"),
        (Fault("status", 429, path="_mget"), "refusing"),
        (Fault("partial", 429), "refusing"),
        (Fault("reset"), "silent"),
        (Fault("hang"), "silent"),
        (Fault("hang", path="_bulk"), "silent"),
    ],
)
def test_behind_a_fault_it_is_not(
    fault: Fault, standing: Standing, search_engine: Engine, tables: list[Table[Any]]
) -> None:
    with proxying(search_engine.url) as proxy:
        behind = connect(proxy.url)
        assert look(behind, tables, HASTE_S) == "well"
        with proxy.broken(fault):
            assert look(behind, tables, HASTE_S) == standing
        behind.close()


def test_a_slow_cluster_is_found_to_be_well_in_the_end(
    search_engine: Engine, tables: list[Table[Any]]
) -> None:
    with proxying(search_engine.url) as proxy:
        behind = connect(proxy.url)
        lookout = Lookout(behind, tables, patience_s=30)
        with proxy.broken(Fault("delay", seconds=1.1 * HASTE_S, path="_mget")):
            assert lookout() == "silent"
            wait_for("an answer", lambda: lookout() == "well", seconds=40)
        behind.close()
