"""The Lambda zip: the same bytes every time, small, and importing nothing it does not bring."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 64 * 1024
MOST_MODULES = 30
"""Modules that the handler may load beyond what an empty handler with boto3 loads: its own 14 and
what they take of the standard library."""

PROBE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
start = time.perf_counter()
exec(sys.argv[2])
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "modules": sorted(sys.modules),
    "files": {n: getattr(m, "__file__", None) for n, m in list(sys.modules.items())},
}))
"""
EMPTY = "import boto3, botocore.config, botocore.exceptions"


def build(output: Path) -> Path:
    command = [sys.executable, str(ROOT / "infra" / "package.py"), "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True, cwd=output.parent)
    return output


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist") / "producer.zip")


def probe(archive: Path, statement: str) -> dict[str, Any]:
    """Run a statement in a fresh interpreter that finds boto3 and the zip, and not this tree."""
    command = [sys.executable, "-I", "-c", PROBE, str(archive), statement]
    output = subprocess.run(
        command, check=True, capture_output=True, cwd=archive.parent, timeout=60
    ).stdout
    found: dict[str, Any] = json.loads(output)
    return found


def test_building_twice_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_the_zip_holds_the_producer_alone_readable_and_without_a_date(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        expected = sorted(path.name for path in (ROOT / "producer").glob("*.py"))
        assert [entry.filename for entry in entries] == [f"producer/{name}" for name in expected]
        for entry in entries:
            assert opened.read(entry) == (ROOT / entry.filename).read_bytes()
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644


def test_the_zip_is_small(archive: Path) -> None:
    assert archive.stat().st_size < MOST_BYTES


def test_the_handler_imports_from_the_zip_alone_within_its_budget(archive: Path) -> None:
    empty = probe(archive, EMPTY)
    full = probe(archive, "import producer.handler; assert callable(producer.handler.handler)")
    files = {name: path for name, path in full["files"].items() if path}
    assert all(str(archive) in path for name, path in files.items() if top(name) == "producer")
    outside = [path for path in files.values() if path.startswith(str(ROOT / "producer"))]
    assert outside == []
    more = set(full["modules"]) - set(empty["modules"])
    assert {top(name) for name in more} <= {"producer", *sys.stdlib_module_names}
    assert len(more) <= MOST_MODULES, sorted(more)
    print(f"\nimport: {full['seconds'] / empty['seconds']:.2f} times an empty handler's")


def test_every_module_of_the_zip_imports(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        names = [Path(name).with_suffix("").as_posix() for name in opened.namelist()]
    probe(archive, "; ".join(f"import {name.replace('/', '.')}" for name in names))


def test_importing_the_package_loads_nothing_of_it(archive: Path) -> None:
    loaded = probe(archive, "import producer")["modules"]
    assert [name for name in loaded if top(name) == "producer"] == ["producer"]


def top(name: str) -> str:
    return name.partition(".")[0]
