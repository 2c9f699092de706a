"""Terraform, run on a copy of the module, without a registry and without an account.

`python -m tests.infra.terraform` prints why it cannot run here, or nothing.
"""

import functools
import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
INFRA: Final = ROOT / "infra"
PROVIDER: Final = "registry.terraform.io/hashicorp/aws"
PLUGIN_DIR: Final = "SLUICE_TEST_TF_PLUGIN_DIR"
"""Names the folder that holds registry.terraform.io. infra/test.sh takes it from
SLUICE_TF_PLUGIN_DIR, for the tests hide every other variable of ours."""

ASK_S: Final = 180.0
"""For the registry to give the provider, which is a download of 150 MB."""

STEP_S: Final = 300.0
"""Longest time for one command, unless the test says another."""

CONFIGURATION = """\
provider_installation {{
  filesystem_mirror {{
    path    = "{mirror}"
    include = ["{provider}"]
  }}
  direct {{
    exclude = ["{provider}"]
  }}
}}
disable_checkpoint = true
"""
NO_MIRROR = "disable_checkpoint = true\n"
NOWHERE: Final = (
    "the AWS provider lies nowhere on this machine, and no registry gives it;"
    " name its folder in SLUICE_TF_PLUGIN_DIR"
)


def find_mirror(environment: Mapping[str, str]) -> Path | None:
    """The folder of the provider, if it lies on this machine; None: init asks the registry."""
    named = environment.get(PLUGIN_DIR)
    if named:
        return Path(named)
    for root in (os.sep, os.path.expanduser("~")):
        for depth in ("*", "*/*", ".*/*"):
            for hit in sorted(glob.glob(os.path.join(root, depth, PROVIDER))):
                return Path(hit).parents[2]
    return None


@functools.cache
def reach_provider(mirror: Path | None, seconds: float = ASK_S) -> str:
    """Why the provider cannot be had, or nothing. Tried once: a registry may be out of reach."""
    if mirror is not None:
        return "" if (mirror / PROVIDER).is_dir() else f"{mirror} holds no {PROVIDER}"
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(INFRA / "versions.tf", directory)
        try:
            code, _ = Terraform(Path(directory), os.environ).try_run(
                "init", "-backend=false", "-input=false", timeout_s=seconds
            )
        except subprocess.TimeoutExpired:
            code = 1
    return "" if code == 0 else NOWHERE


def missing(environment: Mapping[str, str]) -> str:
    """Why Terraform cannot run here, with what to do about it; empty if it can."""
    if shutil.which("terraform") is None:
        return (
            "terraform is not installed: get 1.11 or later from developer.hashicorp.com/terraform"
        )
    return reach_provider(find_mirror(environment))


def copy_module(directory: Path) -> Path:
    """A copy of infra/ in the directory, links followed."""
    target = directory / "infra"
    shutil.copytree(
        INFRA, target, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "__pycache__")
    )
    return target


@dataclass(frozen=True, slots=True)
class Terraform:
    """Terraform in one folder."""

    directory: Path
    environment: Mapping[str, str]

    def at(self, path: str) -> "Terraform":
        """The same, in a folder below."""
        return Terraform(self.directory / path, self.environment)

    def init(self) -> None:
        """Find the provider; nothing is fetched where it lies on this machine."""
        self.run("init", "-backend=false", "-input=false")

    def run(self, *arguments: str, timeout_s: float = STEP_S, check: bool = True) -> str:
        """Run a command; what it printed, both streams. Fails the test with that."""
        code, output = self.try_run(*arguments, timeout_s=timeout_s)
        assert not check or code == 0, f"terraform {' '.join(arguments)}: {code}\n{output}"
        return output

    def try_run(self, *arguments: str, timeout_s: float = STEP_S) -> tuple[int, str]:
        """Run a command; its exit code and what it printed."""
        done = subprocess.run(
            ["terraform", *arguments, *_without_colour(arguments)],
            check=False,
            cwd=self.directory,
            env={**self.environment, "TF_CLI_CONFIG_FILE": str(self._configure())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            text=True,
        )
        return done.returncode, done.stdout

    def _configure(self) -> Path:
        """Our own configuration: one that a user names may not exist, or send us elsewhere."""
        mirror = find_mirror(self.environment)
        file = self.directory / "terraform.rc"
        file.write_text(
            CONFIGURATION.format(mirror=mirror, provider=PROVIDER) if mirror else NO_MIRROR
        )
        return file


def _without_colour(arguments: tuple[str, ...]) -> Iterator[str]:
    if arguments[0] != "fmt":
        yield "-no-color"


if __name__ == "__main__":
    print(missing(os.environ))
