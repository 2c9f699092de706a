"""The pytest plugin: one fixture. pytest loads it wherever Sluice is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kit.pipeline import Pipelines


@pytest.fixture
def sluice_pipeline() -> Iterator["Pipelines"]:
    """Makes pipelines in memory: `sluice_pipeline(posts, key="id")`.

    At its end the test fails if a change was dead-lettered and the test did not ask.
    """
    from kit.pipeline import Pipelines

    pipelines = Pipelines()
    yield pipelines
    pipelines.close()
