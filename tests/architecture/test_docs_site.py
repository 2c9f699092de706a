"""The site builds without a warning: links and anchors lead somewhere, diagrams are diagrams."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.pages import DOCS, PAGES, import_tool, name_page, read_blocks

DIAGRAMS = import_tool("diagrams")

BROKEN = {
    "an unknown kind": "pie\n a : 1",
    "no direction": "flowchart\n a --> b",
    "a bracket that is not closed": "flowchart LR\n a[table --> b",
    "brackets of two shapes": "flowchart LR\n a[(table] --> b",
    "an edge that leads nowhere": "flowchart LR\n a -->",
    "two nodes and no edge": "flowchart LR\n a b",
    "a subgraph that is not ended": "flowchart LR\n subgraph one\n a --> b",
    "an end too many": "flowchart LR\n a --> b\n end",
    "nothing but a head": "flowchart LR",
    "an unknown participant": "sequenceDiagram\n participant a\n a->>b: hello",
    "a message without words": "sequenceDiagram\n participant a\n participant b\n a->>b",
}


def build(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make docs` does, elsewhere."""
    return subprocess.run(
        [
            sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet",
            "--doctree-dir", str(folder / "trees"), str(source), str(folder / "site"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = build(DOCS, tmp_path)
    assert built.returncode == 0, built.stderr
    pages = {f"{page.relative_to(DOCS).with_suffix('')}.html" for page in DOCS.rglob("*.md")}
    there = {str(page.relative_to(tmp_path / "site")) for page in tmp_path.rglob("*.html")}
    assert pages <= there


def test_a_broken_page_fails_the_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("conf.py", "diagrams.py"):
        (source / name).write_text((DOCS / name).read_text())
    (source / "index.md").write_text(
        "# A page\n\n```{toctree}\nother\n```\n\n"
        "[a](no-page.md)\n[b](#no-heading)\n[c](other.md#no-place)\n\n"
        "```mermaid\nflowchart LR\n  a[table --> b\n```\n"
    )
    (source / "other.md").write_text("# Another\n")
    (source / "lost.md").write_text("# Nobody leads here\n")
    built = build(source, tmp_path)
    assert built.returncode != 0
    for said in ("no-page.md", "no-heading", "no-place", "mermaid: ", "lost.md"):
        assert said in built.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_diagram_is_one(page: Path) -> None:
    for block in read_blocks(page, "mermaid"):
        assert DIAGRAMS.find_faults(block.text) == [], f"{page}:{block.line}"


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_diagram_is_noticed(text: str) -> None:
    assert DIAGRAMS.find_faults(text)
