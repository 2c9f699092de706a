"""What the integration tests share beside the services of `tests/conftest.py`."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.engines import Engine
from tests.upkeep.pipeline import Run, running


@pytest.fixture
def fresh_name() -> str:
    """A name for a table, queue, bucket or index that no other test uses, nor an earlier run."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def run(
    search_engine: Engine,
    dynamodb: Engine,
    elasticmq: Engine,
    s3: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """Tables, pipeline and the `sluice` command; without workers yet."""
    engines = {"search": search_engine, "dynamodb": dynamodb, "elasticmq": elasticmq, "s3": s3}
    with running(engines, tmp_path, monkeypatch, capsys) as one:
        yield one
