"""The image is built, runs without rights on a read-only root, does a worker's work, drains."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.init.names import module_name
from console.local.services import start_moto, start_osmem
from producer.contract import Change, Chunk, encode_chunk, queue_name, write_envelope
from tests.fakes import make_record
from tests.infra import image as images
from tests.infra.image import Container
from tests.infra.terraform import INFRA, ROOT
from tests.polling import wait_for
from tests.services.engines import refuse
from tests.workers import CREDENTIALS, REGION, Queues, connect_sqs
from worker.cluster import connect

pytestmark = pytest.mark.infra

USER = 10001
STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/posts/stream/2026-01-01T00:00:00.000"
TABLES = 'from worker.tables import Table\n\norders = Table("orders")\n'


@pytest.fixture(scope="module")
def image() -> str:
    """The image as the Dockerfile makes it, its tables those of examples/."""
    reason = images.missing()
    if reason:
        refuse(reason, os.environ)
    return images.build(ROOT, "plain", PYTHON_IMAGE=images.base())


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_moto(tmp_path_factory.mktemp("moto")) as service:
        yield service.url


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_osmem(tmp_path_factory.mktemp("osmem")) as service:
        yield service.url


@pytest.fixture
def queues(account: str, request: pytest.FixtureRequest) -> Queues:
    return Queues.create(connect_sqs(account), f"image-{abs(hash(request.node.name))}")


def tell(queues: Queues, account: str, cluster: str, tables: str) -> dict[str, str]:
    """What a task definition would tell the worker, and where the local services are."""
    return {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": account,
        "SLUICE_QUEUE_URL": queues.url,
        "SLUICE_DEAD_LETTER_URL": queues.dead_url,
        "SLUICE_ELASTICSEARCH_URL": cluster,
        "SLUICE_TABLES": tables,
        "SLUICE_CONCURRENCY": "2",
        "SLUICE_DRAIN_S": "20",
    }


def write_message(queues: Queues, number: int) -> str:
    """A message that inserts one post."""
    fields = {"id": f"post-{number}", "title": f"Title {number}", "author": "ann"}
    item = {name: {"S": text} for name, text in fields.items()}
    at = int(time.time()) * 1000
    change = Change("INSERT", {"id": item["id"]}, at, str(10**20 + number), new=item)
    return write_envelope(encode_chunk(Chunk("posts", STREAM, (change,))), queue_name(queues.url))


def ask(cluster: str, path: str) -> Any:
    """The cluster's answer, None where there is no such thing."""
    answer = connect(cluster).request("GET", f"/{path}")
    return answer.body if answer.status == 200 else None


def wait_until_healthy(container: Container) -> None:
    def is_healthy() -> bool:
        assert container.process.poll() is None, "the container ended"
        return container.is_healthy()

    try:
        wait_for("the worker to be healthy", is_healthy, every=0.05)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{container.log.read_text()}") from error


def test_a_worker_in_the_image_does_its_work_without_rights_and_drains(
    image: str, queues: Queues, account: str, cluster: str, tmp_path: Path
) -> None:
    begun = time.monotonic()
    with images.run(
        image, tell(queues, account, cluster, "examples.posts.tables"), tmp_path
    ) as container:
        wait_until_healthy(container)
        started_s = time.monotonic() - begun
        assert ask(cluster, "posts/_doc/post-0") is None
        queues.send([write_message(queues, 0)])
        found = wait_for("the document", lambda: ask(cluster, "posts/_doc/post-0"))
        assert found["_source"]["title"] == "Title 0"

        workers = container.processes()
        assert len(workers) == 3  # the main process and two of its pool
        assert {process.uids().effective for process in workers} == {USER}
        status = container.execute("cat", "/proc/1/status").stdout
        assert "CapEff:\t0000000000000000" in status
        for path in ("/x", "/app/x", "/home/x", "/opt/venv/x"):
            refused = container.execute("touch", path)
            assert "Read-only file system" in refused.stderr, path
        assert container.execute("touch", "/run/sluice/x").returncode == 0

        many = range(1, 61)
        queues.send([write_message(queues, number) for number in many])
        wait_for("work in hand", lambda: ask(cluster, "posts/_doc/post-1"), every=0.01)
        container.signal(getattr(signal, container.config["StopSignal"]))
        assert container.process.wait(30) == 0, container.log.read_text()
    applied = [number for number in many if ask(cluster, f"posts/_doc/post-{number}")]
    # Given back at once: nothing is hidden, nothing is lost, nothing is dead.
    waiting = queues.client.get_queue_attributes(QueueUrl=queues.url, AttributeNames=["All"])[
        "Attributes"
    ]
    assert int(waiting["ApproximateNumberOfMessagesNotVisible"]) == 0
    # One of each process may be both, where the end came between its bulk and its deletion.
    kept = len(applied) + int(waiting["ApproximateNumberOfMessages"])
    assert len(many) <= kept <= len(many) + 2
    assert queues.depth(queues.dead_url) == 0
    megabytes = images.read_size(image) / 1e6
    own = megabytes - images.read_size(images.base()) / 1e6
    print(
        f"\nimage: {megabytes:.0f} MB, {own:.0f} MB of it over {images.base()};"
        f" healthy {started_s:.1f} s after its start"
    )


def test_the_image_says_how_it_is_to_be_run(image: str) -> None:
    config = images.read_config(image)
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["sluice-start"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "worker", "health"]
    assert list(config["Volumes"]) == ["/run/sluice"]


def test_a_worker_that_hangs_is_not_healthy(
    image: str, queues: Queues, account: str, cluster: str, tmp_path: Path
) -> None:
    environment = tell(queues, account, cluster, "examples.posts.tables")
    with images.run(image, environment, tmp_path) as container:
        wait_until_healthy(container)
        # Older than the check allows, as after half a minute without a sign of life.
        container.signal(signal.SIGSTOP)
        assert container.execute("touch", "-d", "-1 minute", "/run/sluice/health").returncode == 0
        assert not container.is_healthy()
        all_of_it = container.processes()
    # Nor does it outlive its test.
    wait_for("its end", lambda: not any(one.is_running() for one in all_of_it))


def test_the_image_lacks_what_a_worker_does_not_need(
    image: str, queues: Queues, account: str, cluster: str, tmp_path: Path
) -> None:
    environment = tell(queues, account, cluster, "examples.posts.tables")
    with images.run(image, environment, tmp_path) as container:
        wait_until_healthy(container)
        for module in ("kit", "pip", "moto", "pytest"):
            found = container.execute("python", "-c", f"import {module}")
            assert "ModuleNotFoundError" in found.stderr, module
        held = container.execute("ls", "/app").stdout.split()
        assert held == ["console", "examples", "producer", "worker"]


INVOKE = """
import json, sys
from producer.handler import handler
class Context:
    aws_request_id = "1"
    def get_remaining_time_in_millis(self):
        return 30_000
print(json.dumps([sys.version_info[:2], handler(json.loads(sys.argv[1]), Context())]))
"""


def test_the_function_forwards_on_the_python_that_lambda_runs_it_with(
    image: str, queues: Queues, account: str, cluster: str, tmp_path: Path
) -> None:
    """The image's Python is that of `infra/producer.tf`; the tests may run on an older one."""
    image_after = {"id": {"S": "1"}, "title": {"S": "By the function"}, "author": {"S": "ann"}}
    now = int(time.time())
    record = make_record(1, arn=STREAM, ApproximateCreationDateTime=now, NewImage=image_after)
    environment = tell(queues, account, cluster, "examples.posts.tables")
    bucket = {"SLUICE_OVERFLOW_BUCKET": "overflow", "AWS_DEFAULT_REGION": REGION}
    with images.run(image, environment | bucket, tmp_path) as container:
        wait_until_healthy(container)
        event = json.dumps({"Records": [record]})
        done = container.execute("python", "-c", INVOKE, event)
        assert done.returncode == 0, done.stderr
        version, answer = json.loads(done.stdout.splitlines()[-1])
        runtime = re.search(r'runtime += "python([0-9.]+)"', (INFRA / "producer.tf").read_text())
        assert runtime is not None
        assert runtime[1] == ".".join(map(str, version))
        assert answer == {"batchItemFailures": []}, done.stdout
        found = wait_for("the document", lambda: ask(cluster, "posts/_doc/1"))
        assert found["_source"]["title"] == "By the function"


def test_the_image_purges_tombstones_when_it_is_told_to(
    image: str, queues: Queues, account: str, cluster: str, tmp_path: Path
) -> None:
    environment = tell(queues, account, cluster, "examples.posts.tables")
    with images.run(image, environment, tmp_path) as container:
        wait_until_healthy(container)
        done = container.execute("sluice-start", "sluice", "tombstones", "purge", "posts")
        assert done.returncode == 0, done.stderr
        assert "0 removed, 0 kept" in done.stdout


def write_package(directory: Path) -> None:
    package = directory / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""A shop."""\n')
    (package / "tables.py").write_text(TABLES)


@pytest.fixture(scope="module")
def with_argument(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image made as docs/image.md says: a folder beside ours, and its name as TABLES."""
    context = tmp_path_factory.mktemp("context")
    for name in ("producer", "worker", "console", "examples", "requirements", "infra"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Dockerfile", context)
    ignored = (ROOT / ".dockerignore").read_text()
    (context / ".dockerignore").write_text(ignored.replace("*\n", "*\n!shop/\n", 1))
    write_package(context)
    return images.build(context, "argument", PYTHON_IMAGE=images.base(), TABLES="shop")


@pytest.fixture(scope="module")
def derived(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image made as docs/image.md says: FROM ours, with a package of one's own."""
    context = tmp_path_factory.mktemp("derived")
    write_package(context)
    (context / "Dockerfile").write_text(
        f"FROM {image}\nCOPY --chown=0:0 shop/ /app/shop/\nUSER 0\n"
        "RUN python -m ensurepip && python -m pip --version\nUSER 10001:10001\n"
    )
    return images.build(context, "derived")


@pytest.fixture(scope="module")
def begun(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that the Dockerfile of a project of `sluice init` makes on top of ours."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "items.json").write_text('[{"id": "o-1", "total": 12.5}]')
    project = folder / "orders"
    command = ["init", "orders", "--file", str(folder / "items.json"), "--key", "id:S"]
    subprocess.run(
        [sys.executable, "-m", "console", *command, "--directory", str(project)],
        check=True,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    return images.build(project, "begun", BASE=image)


WAYS = {
    "with_argument": "shop.tables",
    "derived": "shop.tables",
    "begun": module_name("orders"),  # what its Terraform root says: tests/unit/test_init.py
}
"""Fixtures of images with tables of one's own, and the module that declares them."""


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_with_tables_of_ones_own_makes_their_index(
    way: str,
    request: pytest.FixtureRequest,
    queues: Queues,
    account: str,
    tmp_path: Path,
) -> None:
    with start_osmem(tmp_path) as cluster:
        environment = tell(queues, account, cluster.url, WAYS[way])
        with images.run(request.getfixturevalue(way), environment, tmp_path) as container:
            wait_until_healthy(container)
            assert {process.uids().effective for process in container.processes()} == {USER}
        assert ask(cluster.url, "_alias/orders") is not None
