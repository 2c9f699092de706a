"""An upgrade says its version, and renames what is renamed: nothing is replaced unawares."""

import re
import tomllib
from pathlib import Path

from tests.infra.terraform import INFRA, ROOT

ADDRESSES = Path(__file__).with_name("addresses.txt")
"""Every resource of every version ever shipped. Lines are added, never changed or taken out."""


def read_version() -> str:
    match = re.search(r'^  version = "(.+?)"', (INFRA / "versions.tf").read_text(), re.MULTILINE)
    assert match is not None
    return match[1]


def test_module_package_changelog_and_pages_carry_one_version() -> None:
    version = read_version()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == version
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest is not None
    assert latest[1] == version
    for file in ("docs/deploy.md", "docs/upgrades.md", "console/init/files.py"):
        assert set(re.findall(r"\?ref=v([\d.]+\d)", (ROOT / file).read_text())) == {version}, file


def test_every_resource_that_was_shipped_is_there_or_moved() -> None:
    found = {
        f"{kind}.{name}"
        for file in INFRA.glob("*.tf")
        for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', file.read_text(), re.MULTILINE)
    }
    moved = (INFRA / "moved.tf").read_text()
    left = set(re.findall(r"^  from\s*= (\w+\.\w+)", moved, re.MULTILINE))
    shipped = ADDRESSES.read_text().split()
    assert len(shipped) >= 30
    missing = set(shipped) - found - left
    assert not missing, f"renamed or gone without a `moved` or `removed` block: {missing}"
    added = found - set(shipped)
    assert not added, f"new: add to {ADDRESSES.name}: {added}"
