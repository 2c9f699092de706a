"""Names that Python and Elasticsearch take, for names that DynamoDB takes. Pure."""

import builtins
import keyword
import re
from collections.abc import Container
from typing import Final

from pydantic import BaseModel

from worker.mappings import META

IMPORTED: Final = frozenset({"Any", "BaseModel", "Decimal", "Field", "Pipelines", "Table"})

_RESERVED: Final = frozenset(
    {"_doc_count", "_feature", "_field_names", "_id", "_ignored", "_index", "_nested_path"}
    | {"_routing", "_seq_no", "_source", "_tier", "_type", "_version", META}
)
"""Metadata fields, which no document may hold at its top (Metadata fields, Elasticsearch
reference), and ours."""

_ANNOTATIONS: Final = IMPORTED | {"bool", "bytes", "dict", "int", "list", "set", "str"}
"""Names that annotations use: a field of such a name would be looked up in their place."""

_LONGEST: Final = 40
"""Of a field's name: so that its line does not become too long."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_]+")
_BLANK = re.compile(r"[\s.]+")


def make_unique(name: str, taken: Container[str]) -> str:
    """The name, or with the first number behind it that makes it one of its own."""
    number, tried = 1, name
    while tried in taken:
        number += 1
        tried = f"{name}_{number}"
    return tried


def field_name(attribute: str, taken: Container[str]) -> str:
    """The name of a model's field for an attribute."""
    name = _FOREIGN.sub("_", attribute)[:_LONGEST].strip("_") or "attribute"
    if name[0].isdigit() or name.startswith(("model_validate", "model_dump")):
        name = f"attribute_{name}"
    if (
        keyword.iskeyword(name)
        or hasattr(builtins, name)
        or hasattr(BaseModel, name)
        or name in IMPORTED
    ):
        name += "_"
    return make_unique(name, taken)


def document_name(attribute: str, taken: Container[str], *, top: bool) -> str:
    """The name of a document's field for an attribute: its own, unless Elasticsearch refuses it.

    A dot would make an object of it, and meet other attributes there.
    """
    name = attribute.replace(".", "_") if _BLANK.sub("", attribute) else "attribute"
    if top and name in _RESERVED:
        name = f"{name.strip('_')}_"
    return make_unique(name, taken)


def class_name(text: str, taken: Container[str]) -> str:
    """The name of a class, in capitals: `order-items` gives OrderItems."""
    parts = [part for part in re.split(r"[^A-Za-z0-9]+|_", text) if part]
    name = "".join(part[0].upper() + part[1:] for part in parts) or "Item"
    if not name.isidentifier() or hasattr(builtins, name) or keyword.iskeyword(name):
        name = f"Item{name}"
    return make_unique(name, taken)


def singular(text: str) -> str:
    """What one of them is called, as far as rules go."""
    if text.lower().endswith("ies") and len(text) > 4:
        return text[:-3] + "y"
    if text.lower().endswith("s") and not text.lower().endswith(("ss", "us", "is")):
        return text[:-1]
    return text


def module_name(table: str) -> str:
    """The name of the tables module for a table."""
    return f"{variable_name(table).strip('_')}_table"


def variable_name(table: str) -> str:
    """The name of the variable that holds the declaration."""
    name = _FOREIGN.sub("_", table).strip("_").lower() or "table"
    if name[0].isdigit():
        name = f"table_{name}"
    return f"{name}_" if keyword.iskeyword(name) or hasattr(builtins, name) else name
