"""A short run of `make chaos`: random faults, then every item equals its document."""

from pathlib import Path

import pytest

from tests.chaos.run import Places, run_chaos
from tests.services.engines import Engine

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.mark.parametrize("search_engine", ["elasticsearch-8"], indirect=True, scope="session")
def test_the_index_equals_the_table_after_random_faults(
    search_engine: Engine, dynamodb: Engine, elasticmq: Engine, s3: Engine, tmp_path: Path
) -> None:
    places = Places(dynamodb.url, elasticmq.url, s3.url, search_engine.url)
    report = run_chaos(places, tmp_path, seed=7, minutes=0.75, log=print)
    assert report.passed, "\n".join(report.lines())
    assert report.writes > 100
    assert sum(report.faults.values()) > 3
