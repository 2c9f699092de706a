"""The fixture in somebody else's project: it is there, costs nothing unused, and fails a test."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

TESTS = """
from worker.tables import Table

def test_ends_well(sluice_pipeline):
    pipeline = sluice_pipeline(Table("posts"), key="id")
    pipeline.put({"id": "a"})
    assert pipeline.document("a") == {"id": "a"}

def test_does_not_look(sluice_pipeline):
    sluice_pipeline(Table("posts"), key="id").put({"id": "a", "_source": 1})

def test_looks(sluice_pipeline):
    pipeline = sluice_pipeline(Table("posts"), key="id")
    pipeline.put({"id": "a", "_source": 1})
    assert len(pipeline.dead_letters()) == 1
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    names = ("AWS_", "PYTEST_")
    environment = {n: v for n, v in os.environ.items() if not n.startswith(names)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_pytest_finds_the_fixture_and_an_unread_letter_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(TESTS)
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path)
    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ERROR test_theirs.py::test_does_not_look" in done.stdout
    assert "INSERT a: document_parsing_exception: field [_source]" in done.stdout


def test_the_plugin_is_declared_and_loads_none_of_sluice(tmp_path: Path) -> None:
    (plugin,) = entry_points(group="pytest11", name="sluice")
    assert plugin.value == "kit.plugin"
    done = run("-c", "import kit.plugin, sys; print(*sys.modules)", folder=tmp_path)
    ours = ("kit", "worker", "producer", "console", "boto3", "botocore", "pydantic")
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] in ours}
    assert loaded == {"kit", "kit.plugin"}, done.stderr
