"""What the Dockerfile copies is enough to start the worker and to purge tombstones, and no more."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.local.services import start_osmem
from examples.posts.tables import posts
from tests.infra.terraform import INFRA, ROOT
from worker.clock import read_clock_ms
from worker.cluster import connect, path
from worker.schema import ensure_index


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's /app, as the Dockerfile's COPY lines put it together."""
    image = tmp_path_factory.mktemp("image")
    text = (ROOT / "Dockerfile").read_text().replace("${TABLES}", "examples")
    for line in re.findall(r"^COPY (?!--)(.+ /app/.+)$", text, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "tests")
                shutil.copytree(ROOT / source, image / target[1:], ignore=ignored)
            else:
                (image / target[1:]).mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, image / target[1:])
    return image / "app"


def run(app: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that finds the image's tree, and not this one."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(app)}
    return subprocess.run(
        command,
        check=False,
        cwd=app,
        env={**paths, "AWS_REGION": "us-east-1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_worker_and_the_tables_import_from_the_images_tree_alone(app: Path) -> None:
    names = ["worker.__main__", "examples.posts.tables", *modules(app)]
    code = f"import sys, {', '.join(names)}; print(*(m.__file__ for m in ({', '.join(names)},)))"
    # -P: the folder that it is started in is not looked into.
    done = run(app, sys.executable, "-P", "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(file.startswith(str(app)) for file in done.stdout.split())


def modules(app: Path) -> list[str]:
    return [f"worker.{file.stem}" for file in sorted((app / "worker").glob("[!_]*.py"))]


def test_the_image_holds_the_worker_the_command_and_the_tables_alone(app: Path) -> None:
    held = sorted(path.name for path in app.iterdir())
    assert held == ["console", "examples", "producer", "worker"]


def test_the_image_purges_the_tombstones_of_the_tables_that_are_named(
    app: Path, tmp_path: Path
) -> None:
    command = ["sh", str(INFRA / "image" / "start"), "sluice", "tombstones", "purge", "posts"]
    with start_osmem(tmp_path) as service:
        told = {
            "SLUICE_QUEUE_URL": "https://sqs.example.com/1/changes",
            "SLUICE_DEAD_LETTER_URL": "https://sqs.example.com/1/dead",
            "SLUICE_TABLES": "examples.posts.tables",
            "SLUICE_ELASTICSEARCH_URL": service.url,
        }
        done = run(app, *command, **told)
        assert done.returncode == 2
        assert "the table posts has no index yet" in done.stderr
        cluster = connect(service.url)
        ensure_index(cluster, posts)
        for name, time in (("old", 1), ("new", read_clock_ms())):
            tombstone = {"_sluice": {"state": "deleted", "time": time}}
            written = cluster.request("PUT", path(posts.write_alias, "_doc", name), body=tombstone)
            assert written.status == 201
        done = run(app, *command, **told)
        assert (done.returncode, done.stderr) == (0, "")
        assert "1 removed, 0 kept" in done.stdout
        found = [
            cluster.request("GET", path(posts.write_alias, "_doc", name)) for name in ("old", "new")
        ]
        assert [answer.status for answer in found] == [404, 200]


def test_a_worker_without_settings_ends_with_2_and_names_each(app: Path) -> None:
    done = run(app, "sh", str(INFRA / "image" / "start"))
    assert done.returncode == 2
    for name in ("SLUICE_QUEUE_URL", "SLUICE_DEAD_LETTER_URL", "SLUICE_TABLES"):
        assert name in done.stderr


def test_the_start_writes_the_authority_for_its_owner_alone(app: Path, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    command = ["sh", str(INFRA / "image" / "start"), "health"]
    done = run(
        app,
        *command,
        ELASTICSEARCH_CA_PEM="-----BEGIN CERTIFICATE-----\nAA==",
        SLUICE_ELASTICSEARCH_CA_CERTS=str(file),
        SLUICE_HEALTH_FILE=str(tmp_path / "health"),
    )
    assert done.returncode == 1, done.stderr
    assert file.read_text() == "-----BEGIN CERTIFICATE-----\nAA==\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_authority_without_a_file_to_write_it_to_is_refused(app: Path) -> None:
    done = run(app, "sh", str(INFRA / "image" / "start"), ELASTICSEARCH_CA_PEM="x")
    assert done.returncode == 2
    assert "SLUICE_ELASTICSEARCH_CA_CERTS" in done.stderr
