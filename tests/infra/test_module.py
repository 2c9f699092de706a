"""The module: formatted, valid, and planned and applied with a mocked provider."""

import re
import subprocess

import pytest

from tests.infra.terraform import INFRA, Terraform


def test_every_file_is_formatted(module: Terraform) -> None:
    assert module.run("fmt", "-check", "-recursive", "-diff") == ""


@pytest.mark.parametrize("example", ["one-table", "several-tables"])
def test_an_example_that_calls_the_module_is_valid(module: Terraform, example: str) -> None:
    root = module.at(f"examples/{example}")
    root.init()
    assert "The configuration is valid" in root.run("validate")


def test_what_the_module_makes_is_as_its_tests_say(module: Terraform) -> None:
    output = module.run("test")
    runs = sum(len(re.findall(r'^run "', file.read_text(), re.MULTILINE)) for file in TEST_FILES)
    assert f"{runs} passed, 0 failed" in output


TEST_FILES = sorted((INFRA / "tests").glob("*.tftest.hcl"))


def test_every_variable_and_output_is_typed_and_described() -> None:
    for file in INFRA.rglob("*.tf"):
        for kind, name, body in re.findall(
            r'^(variable|output) "(\w+)" \{\n(.*?)^\}', file.read_text(), re.MULTILINE | re.DOTALL
        ):
            assert "\n  description" in f"\n{body}", f"{file.name}: {kind} {name}"
            assert kind == "output" or "\n  type" in f"\n{body}", f"{file.name}: {kind} {name}"


def test_no_secret_is_read_into_the_state() -> None:
    text = "\n".join(file.read_text() for file in INFRA.rglob("*.tf"))
    assert "aws_secretsmanager_secret_version" not in text


def test_the_start_of_the_image_is_a_shell_script_that_parses() -> None:
    subprocess.run(["sh", "-n", str(INFRA / "image" / "start")], check=True)
