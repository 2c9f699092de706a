"""The Terraform root that `sluice init` writes is formatted and valid."""

from pathlib import Path

import pytest

from console.init.files import write_terraform
from tests.infra.terraform import Terraform


@pytest.mark.parametrize("table", ["posts", "prod.Odd-Table_2"])
def test_the_root_is_formatted_and_valid(module: Terraform, tmp_path: Path, table: str) -> None:
    (tmp_path / "infra").symlink_to(module.directory)
    root = Terraform(tmp_path / "project", module.environment)
    root.directory.mkdir()
    source = write_terraform(table, "posts_table", "../infra")
    (root.directory / "main.tf").write_text(source)
    root.run("fmt", "-check", "-diff")
    root.init()
    root.run("validate")
