"""Whether the provider can be had is found out before any test asks for it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.terraform import (
    INFRA,
    NOWHERE,
    PLUGIN_DIR,
    PROVIDER,
    ROOT,
    missing,
    reach_provider,
)

SHELL = "#!/bin/sh\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only one in which programs are looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put_terraform(folder: Path, script: str) -> None:
    """A terraform that does no more than this."""
    (folder / "terraform").write_text(SHELL + script)
    (folder / "terraform").chmod(0o755)


def test_without_terraform_it_says_where_to_get_it(folder: Path) -> None:
    assert "terraform is not installed" in missing({})


def test_a_mirror_that_holds_no_provider_is_named(folder: Path) -> None:
    put_terraform(folder, "exit 1\n")
    assert missing({PLUGIN_DIR: str(folder)}) == f"{folder} holds no {PROVIDER}"
    (folder / PROVIDER).mkdir(parents=True)
    reach_provider.cache_clear()
    assert missing({PLUGIN_DIR: str(folder)}) == ""


@pytest.mark.parametrize(
    ("script", "reason"),
    [('[ "$1" = init ]\n', ""), ("exit 1\n", NOWHERE), ("exec /bin/sleep 60\n", NOWHERE)],
)
def test_without_a_mirror_the_registry_is_asked_for_so_long(
    folder: Path, script: str, reason: str
) -> None:
    put_terraform(folder, script)
    reach_provider.cache_clear()
    assert reach_provider(None, seconds=2.0) == reason
    reach_provider.cache_clear()


def test_make_test_says_in_one_line_what_it_leaves_out(folder: Path) -> None:
    for tool in ("bash", "dirname"):
        (folder / tool).symlink_to(str(shutil.which(tool, path=os.defpath)))
    assert "\n\tinfra/test.sh where-it-can\n" in (ROOT / "Makefile").read_text()
    done = subprocess.run(
        ["bash", str(INFRA / "test.sh"), "where-it-can"],
        check=False,
        capture_output=True,
        env={"PATH": str(folder)},
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    assert "make infra-test" in line
    assert "terraform is not installed" in line
