"""Which servers a test runs on, and what to do where one cannot run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from console.local.services import Service, start_moto, start_osmem
from tests.services.artefacts import missing
from tests.services.servers import start_dynamodb_local, start_elasticmq, start_elasticsearch

EMBEDDED = "embedded"
CLUSTER = "cluster"
REAL_ENGINES = ("elasticsearch-8", "elasticsearch-9")
CLUSTER_URL = "SLUICE_TEST_ELASTICSEARCH_URL"
# A shell or a CI system says yes in many ways.
NO = ("", "0", "false", "no")


@dataclass(frozen=True, slots=True)
class Engine:
    """A server that a test may use: its name, its URL, and whether it is the real thing."""

    name: str
    url: str
    kind: Literal["embedded", "real"]


def name_search_engines(environment: Mapping[str, str]) -> list[str]:
    """The search engines that the suite runs on: a cluster of the user's replaces the real ones."""
    if environment.get(CLUSTER_URL):
        return [EMBEDDED, CLUSTER]
    return [EMBEDDED, *REAL_ENGINES]


def must_not_skip(environment: Mapping[str, str]) -> bool:
    """Whether a service that cannot run is a failure: on CI it is."""
    return environment.get("CI", "").lower() not in NO


def refuse(reason: str, environment: Mapping[str, str]) -> NoReturn:
    """Skip the test with the reason, or fail it on CI."""
    if must_not_skip(environment):
        pytest.fail(f"On CI every service must run. {reason}", pytrace=False)
    pytest.skip(reason)


def require(service: str, environment: Mapping[str, str]) -> None:
    """Refuse the test when a real service cannot run here."""
    reason = missing(service, environment)
    if reason:
        refuse(reason, environment)


@contextmanager
def run_search_engine(
    name: str, directory: Path, environment: Mapping[str, str]
) -> Iterator[Engine]:
    """Run the named search engine for as long as the context lasts."""
    if name == CLUSTER:
        yield Engine(CLUSTER, environment[CLUSTER_URL].rstrip("/"), "real")
        return
    if name == EMBEDDED:
        with start_osmem(directory) as service:
            yield Engine(EMBEDDED, service.url, "embedded")
        return
    require(name, environment)
    with start_elasticsearch(8 if name == "elasticsearch-8" else 9, directory) as service:
        yield Engine(name, service.url, "real")


@contextmanager
def run_dynamodb(directory: Path, environment: Mapping[str, str]) -> Iterator[Engine]:
    """Run DynamoDB Local, or moto where it cannot run."""
    with _run_real_or_moto(
        "dynamodb-local", start_dynamodb_local, directory, environment
    ) as engine:
        yield engine


@contextmanager
def run_elasticmq(directory: Path, environment: Mapping[str, str]) -> Iterator[Engine]:
    """Run ElasticMQ, or moto where it cannot run."""
    with _run_real_or_moto("elasticmq", start_elasticmq, directory, environment) as engine:
        yield engine


@contextmanager
def run_moto(directory: Path) -> Iterator[Engine]:
    """Run moto, the embedded AWS."""
    with start_moto(directory) as service:
        yield Engine(service.name, service.url, "embedded")


@contextmanager
def _run_real_or_moto(
    name: str,
    start: Callable[[Path], Service],
    directory: Path,
    environment: Mapping[str, str],
) -> Iterator[Engine]:
    reason = missing(name, environment)
    if reason and must_not_skip(environment):
        refuse(reason, environment)
    if reason:
        with run_moto(directory) as engine:
            yield engine
        return
    with start(directory) as service:
        yield Engine(name, service.url, "real")
