"""What the kit's index refuses, Elasticsearch 8 and 9 refuse, and what it takes they take.

The embedded engine is left out: it is kinder than either.
"""

import os

import pytest

from kit.mapped import Mapped
from tests.integration.test_index import InCluster, write
from tests.refusals import documents, mapping
from tests.services.engines import Engine, name_search_engines
from worker.cluster import connect
from worker.outcomes import Outcome
from worker.tables import Table, index_body

REAL = name_search_engines(os.environ)[1:]


@pytest.mark.parametrize("search_engine", REAL, indirect=True, scope="session")
def test_the_index_in_memory_refuses_what_the_cluster_refuses(
    search_engine: Engine, fresh_name: str
) -> None:
    table = Table(fresh_name, mappings=mapping())
    connection = connect(search_engine.url, timeout_s=30)
    place = InCluster(connection, table)
    cases = documents()
    writes = [write(str(number), fields) for number, (fields, _) in enumerate(cases)]
    results = place.documents.write(place.alias, writes)
    connection.close()
    memory = Mapped.of(index_body(table))
    judged = {
        f"{number}: {fields}"[:80]: (bool(memory.take(fields)), result.outcome is Outcome.REFUSED)
        for number, ((fields, _), result) in enumerate(zip(cases, results, strict=True))
    }
    assert {name: both for name, both in judged.items() if both[0] != both[1]} == {}
    assert [refused for _, refused in judged.values()] == [refused for _, refused in cases]
