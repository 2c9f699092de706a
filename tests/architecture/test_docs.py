"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest

from tests.architecture.pages import DOCS, PAGES, ROOT, import_tool, name_page


def test_the_generated_pages_are_what_the_code_says() -> None:
    generate = import_tool("generate")
    hint = "run: python docs/generate.py"
    assert generate.TARGET.read_text() == generate.render(), hint
    assert generate.METRICS_TARGET.read_text() == generate.render_metrics(), hint
    assert generate.CLI_TARGET.read_text() == generate.render_cli(), hint
    assert generate.CONTRACT_TARGET.read_text() == generate.render_contract(), hint


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not link.startswith(("http:", "https:")):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """Paths in backquotes: `worker/order.py`, or with the name of a test behind `::`."""
    for name in re.findall(
        r"`((?:producer|worker|kit|console|tests|examples|infra|bench|docs)/[^`\s]*)`",
        page.read_text(),
    ):
        path, _, test = name.partition("::")
        assert (ROOT / path).exists(), name
        if test:
            assert re.search(rf"def {re.escape(test)}\b", (ROOT / path).read_text()), name


def test_each_kind_of_bad_input_names_the_tests_that_show_it() -> None:
    lines = (DOCS / "bad-input.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    kinds = [row for row in rows if not row.startswith(("| input |", "| --- |"))]
    assert kinds
    for row in kinds:
        shown_by = row.rstrip(" |").rpartition(" | ")[2].split(", ")
        for name in shown_by:
            path, _, test = name.strip("`").partition("::")
            assert test.startswith("test_"), row
            assert re.search(
                rf"^def {re.escape(test)}\(", (ROOT / path).read_text(), re.MULTILINE
            ), name


def test_no_module_has_grown_past_400_lines() -> None:
    packages = ("producer", "worker", "kit", "console", "examples", "infra")
    long = {
        str(file.relative_to(ROOT)): lines
        for package in packages
        for file in (ROOT / package).rglob("*.py")
        if (lines := len(file.read_text().splitlines())) > 400
    }
    assert long == {}
