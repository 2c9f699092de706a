"""How Sphinx builds the site: `make docs`. Every warning is an error there."""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent))

from diagrams import find_faults

project = "Sluice"
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Sluice"
html_show_sphinx = False
html_show_copyright = False
# The pages in the repository say the same, and are what one edits.
html_copy_source = False

# Headings have anchors, named as GitHub names them; a link to one that is not there is a warning.
myst_heading_anchors = 6
myst_fence_as_directive = ["mermaid"]
nitpicky = True
# `--keys` is an option, not a dash.
smartquotes = False
# Diagrams stay text, drawn by the reader's browser as GitHub draws them: a build needs no network.
mermaid_output_format = "raw"

OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Pages at the root of the repository, and what they are called in the site."""

log = logging.getLogger(__name__)


def lead_inside(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to pages at the root, right in the repository, become links to the site's."""
    up = "../" * (docname.count("/") + 1)
    here = "../" * docname.count("/")
    for name, inside in OUTSIDE.items():
        source[0] = re.sub(rf"\]\({re.escape(up + name)}(?=[)#])", f"]({here}{inside}", source[0])


def check_diagrams(_app: Sphinx, doctree: nodes.document) -> None:
    """A diagram that Mermaid would show as an error is a warning here."""
    for node in doctree.findall(lambda one: type(one).__name__ == "mermaid"):
        for fault in find_faults(node["code"]):
            log.warning("mermaid: %s", fault, location=node)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls it."""
    app.connect("source-read", lead_inside)
    app.connect("doctree-read", check_diagrams)
    return {"parallel_read_safe": True}
