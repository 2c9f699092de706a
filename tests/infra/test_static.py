"""checkov and hadolint find nothing that is not excused where it stands."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from console.init.files import write_dockerfile
from tests.infra.terraform import INFRA, ROOT
from tests.services.engines import refuse

FOLDER = ROOT / ".venv-infra" / "bin"


def find_checker(name: str) -> Path:
    """A checker of requirements/infra.txt."""
    found = shutil.which(name, path=str(FOLDER))
    if found is None:
        refuse(f"{name} is not there: make infra-test installs it", os.environ)
    return Path(found)


def test_checkov_finds_nothing_that_is_not_excused() -> None:
    command = [str(find_checker("checkov")), "-d", str(INFRA), "--framework", "terraform"]
    done = subprocess.run(
        [*command, "--compact", "--skip-download", "-o", "json"],
        check=False,
        capture_output=True,
        cwd=ROOT,
        timeout=120,
        text=True,
    )
    found = json.loads(done.stdout)
    # A file that it cannot parse is one that it does not look at, and says so only here: of ours,
    # a here-document whose end is a single letter was one.
    assert found["results"]["parsing_errors"] == []
    failed = [f"{c['check_id']} {c['resource']}" for c in found["results"]["failed_checks"]]
    assert failed == []
    assert found["summary"]["passed"] > 100


def test_each_skip_says_why() -> None:
    skips = [
        line
        for file in INFRA.rglob("*.tf")
        for line in file.read_text().splitlines()
        if "checkov:skip" in line
    ]
    assert skips
    for line in skips:
        assert re.search(r"#checkov:skip=CKV2?_AWS_\d+:\S.{10,}\.$", line), line


def test_hadolint_finds_nothing_in_ours_and_in_that_of_sluice_init(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(write_dockerfile("posts_table"))
    done = subprocess.run(
        [str(find_checker("hadolint")), str(ROOT / "Dockerfile"), str(tmp_path / "Dockerfile")],
        check=False,
        capture_output=True,
        timeout=60,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "promise",
    ["AS build", "USER 10001:10001", "STOPSIGNAL SIGTERM", "--require-hashes", "HEALTHCHECK"],
)
def test_the_image_keeps_its_promises(promise: str) -> None:
    assert promise in (ROOT / "Dockerfile").read_text()


def test_every_package_of_the_image_is_pinned_with_hashes() -> None:
    text = (ROOT / "requirements" / "worker.txt").read_text()
    pinned = re.findall(r"^[a-z0-9][\w.-]*==", text, re.MULTILINE)
    assert len(pinned) > 15
    hashed = re.findall(r"^[a-z0-9][^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(hashed) == len(pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[=<>]", line)[0].replace("_", "-") for line in project["dependencies"]}
    assert {f"{name}==" for name in declared} <= set(pinned)
