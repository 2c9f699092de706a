"""The marker of the slow tests, and the module ready to be run."""

import os
from pathlib import Path

import pytest

from tests.infra.terraform import Terraform, copy_module, missing
from tests.services.engines import refuse


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker."""
    config.addinivalue_line("markers", "infra: takes minutes; needs Terraform and the AWS provider")


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of infra/, initialised: no test writes into the tree."""
    reason = missing(os.environ)
    if reason:
        refuse(reason, os.environ)
    terraform = Terraform(copy_module(tmp_path_factory.mktemp("module")), os.environ)
    terraform.init()
    return terraform


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """Somewhere for what a test builds."""
    return tmp_path
