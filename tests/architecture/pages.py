"""The pages, and the blocks of code in them."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its language (empty if none is said), its text, its first line."""

    language: str
    text: str
    line: int


def name_page(page: Path) -> str:
    """A page's name in test identifiers and messages."""
    return str(page.relative_to(ROOT))


def read_blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in those languages; a block that is indented has the language ""."""
    found = _read_all(page.read_text())
    return [block for block in found if block.language in languages]


def read_inline(page: Path) -> Iterator[str]:
    """What stands in backquotes within text."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


def _read_all(text: str) -> Iterator[Block]:
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in ("fence", "code_block") and token.map:
            yield Block(token.info.strip(), token.content, token.map[0] + 1)


def import_tool(name: str) -> ModuleType:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
