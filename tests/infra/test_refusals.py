"""Every validation refuses, and is missed when it is gone. On the variables alone: no provider."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.infra.terraform import INFRA, Terraform
from tests.services.engines import refuse

VALIDATION = re.compile(r"^  validation \{\n.*?^  \}\n", re.MULTILINE | re.DOTALL)
BLOCKS = VALIDATION.findall((INFRA / "variables.tf").read_text())


@pytest.fixture
def variables(tmp_path: Path) -> Terraform:
    if shutil.which("terraform") is None:
        refuse("terraform is not installed", os.environ)
    shutil.copytree(INFRA / "tests" / "refusals", tmp_path / "variables")
    # No link in the tree: a checkout or an archive without links holds a file of one path instead.
    shutil.copy(INFRA / "variables.tf", tmp_path / "variables")
    terraform = Terraform(tmp_path / "variables", os.environ)
    terraform.init()
    return terraform


def test_each_run_sees_its_validation_refuse(variables: Terraform) -> None:
    runs = (variables.directory / "refusals.tftest.hcl").read_text().count('\nrun "')
    assert f"{runs} passed, 0 failed" in variables.run("test", timeout_s=60)
    assert runs >= len(BLOCKS)


@pytest.mark.parametrize("place", range(len(BLOCKS)))
def test_a_validation_that_is_gone_is_missed(variables: Terraform, place: int) -> None:
    file = variables.directory / "variables.tf"
    file.write_text(file.read_text().replace(BLOCKS[place], "", 1))
    code, output = variables.try_run("test", timeout_s=60)
    assert code != 0, BLOCKS[place]
    assert "Missing expected failure" in output
