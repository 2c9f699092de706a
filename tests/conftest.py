"""What every test may rely on: a clean environment, and services that start when asked for.

A service runs for the whole session, a search engine from the first test that asks for it: two
Elasticsearch nodes take 2 GB for each process of the run.
"""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any, Final, NoReturn

import hypothesis
import pytest

from tests.services.engines import (
    Engine,
    name_search_engines,
    run_dynamodb,
    run_elasticmq,
    run_moto,
    run_search_engine,
)
from tests.services.environment import scrub
from tests.sharing import FileAndEngine, rank

ENGINE_FIXTURE = "search_engine"
PATIENCE_S: Final = 600
"""For one test. The longest takes four minutes where others take the processor."""


def pytest_configure(config: pytest.Config) -> None:
    """Hide the caller's accounts, settings and proxies from every test and what it starts."""
    scrub(os.environ)
    # How long an example takes says more of the machine than of the code.
    hypothesis.settings.register_profile("sluice", deadline=None)
    hypothesis.settings.load_profile("sluice")


def pytest_report_header(config: pytest.Config) -> str:
    """Name the search engines of this run."""
    return f"search engines: {', '.join(name_search_engines(os.environ))}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `search_engine` on every engine, unless it names its own."""
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if ENGINE_FIXTURE in metafunc.fixturenames and ENGINE_FIXTURE not in chosen:
        engines = name_search_engines(os.environ)
        metafunc.parametrize(ENGINE_FIXTURE, engines, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileAndEngine | None:
    """Share the suite out by file and engine; by another way of pytest-xdist if told to."""
    return FileAndEngine(config, log) if config.option.dist == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that never ends: a whole run would wait for it."""

    def give_up(*_: object) -> NoReturn:
        raise AssertionError(f"not over after {PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def engine_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Engine]]:
    """A search engine by its name; it runs on to the end of the session."""
    running: dict[str, Engine] = {}
    with ExitStack() as ends:

        def run(name: str) -> Engine:
            if name not in running:
                folder = tmp_path_factory.mktemp(name)
                running[name] = ends.enter_context(run_search_engine(name, folder, os.environ))
            return running[name]

        yield run


@pytest.fixture(scope="session")
def search_engine(request: pytest.FixtureRequest, engine_of: Callable[[str], Engine]) -> Engine:
    """The search engine: each of osmem and Elasticsearch 8 and 9, or osmem and a given cluster.

    Data of other tests may be there: take names from `fresh_name`.
    """
    return engine_of(request.param)


@pytest.fixture(scope="session")
def dynamodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Tables and streams: DynamoDB Local, or moto where it cannot run."""
    with run_dynamodb(tmp_path_factory.mktemp("dynamodb"), os.environ) as engine:
        yield engine


@pytest.fixture(scope="session")
def elasticmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Queues: ElasticMQ, or moto where it cannot run."""
    with run_elasticmq(tmp_path_factory.mktemp("elasticmq"), os.environ) as engine:
        yield engine


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Buckets: moto."""
    with run_moto(tmp_path_factory.mktemp("s3")) as engine:
        yield engine
