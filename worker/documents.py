"""From an item to its document: values, model, document function, JSON. Pure."""

import traceback
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from producer.contract import Item
from worker.errors import RefusedError
from worker.mappings import META
from worker.models import dump
from worker.plain import plain
from worker.tables import Document, Table
from worker.values import digest, plain_item, read_item

__all__ = ["digest", "make_document", "read_subject"]

ItemT = TypeVar("ItemT")

_ERRORS_SHOWN = 10


def make_document(table: Table[Any], image: Item) -> dict[str, Any] | None:
    """What is indexed for an item, ready for JSON; None if its document function hides it.

    Raises RefusedError if the item is malformed, its model refuses it, or its document function
    fails or returns what cannot be indexed. We put no value of the item into the reason; the
    owner's exceptions, and a few of pydantic's messages, may.
    """
    if table.model is None and table.document is None:
        return _without_reserved(plain_item(image))
    subject = read_subject(table, image)
    document = subject if table.document is None else _call(table, subject)
    if document is None:
        return None
    fields = _dump(table, document) if isinstance(document, BaseModel) else document
    made: dict[str, Any] = plain(fields, _unfold)
    return _without_reserved(made)


def read_subject(table: Table[ItemT], image: Item) -> ItemT:
    """An item as its table's owner sees it: as the model, or without one as a dict.

    Raises RefusedError if the item is malformed, or its model refuses it.
    """
    item: Any = read_item(image)
    return item if table.model is None else cast("ItemT", _validate(table, table.model, item))


def _validate(table: Table[Any], model: type[BaseModel], item: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(item, extra="allow" if table.undeclared == "keep" else "forbid")
    except ValidationError as error:
        raise RefusedError("ValidationError", _render(error)) from None
    except Exception as error:
        raise _failure(error, f"model {model.__name__}") from error


def _render(error: ValidationError) -> str:
    """Pydantic's own words and places. Its report of the input is left out: reasons travel far."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    lines = [
        f"{'.'.join(map(str, detail['loc'])) or 'item'}: {detail['msg']} [{detail['type']}]"
        for detail in details[:_ERRORS_SHOWN]
    ]
    if len(details) > _ERRORS_SHOWN:
        lines.append(f"and {len(details) - _ERRORS_SHOWN} more")
    return f"{error.title}: " + "; ".join(lines)


def _call(table: Table[Any], subject: object) -> Document:
    assert table.document is not None  # noqa: S101 - for the type checker
    try:
        document = table.document(subject)
    except RefusedError:
        raise
    except Exception as error:
        raise _failure(error, f"document function of {table.name}") from error
    if document is None or isinstance(document, Mapping | BaseModel):
        return document
    raise RefusedError(
        "UnsuitableValue",
        f"the document function of {table.name} returned {type(document).__name__}, "
        "not a mapping, a model or None",
    )


def _dump(table: Table[Any], model: BaseModel) -> dict[str, Any]:
    try:
        return dump(model)
    except RefusedError:
        raise
    except Exception as error:
        raise _failure(error, f"dump of {type(model).__name__} for {table.name}") from error


def _failure(error: Exception, culprit: str) -> RefusedError:
    """The owner's code failed: its own words, and the line it failed at."""
    if isinstance(error, ValidationError):
        return RefusedError("ValidationError", f"{culprit}: {_render(error)}")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}, line {frames[-1].lineno}" if len(frames) > 1 else ""
    return RefusedError(type(error).__name__, f"{culprit}{place}: {error}")


def _unfold(value: object) -> object:
    """Types that only pydantic knows the JSON of: its URLs, paths, durations, addresses …"""
    if isinstance(value, BaseModel):
        return dump(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise TypeError(f"a {type(value).__name__} has no form in JSON") from error


def _without_reserved(document: dict[str, Any]) -> dict[str, Any]:
    if META in document:
        raise RefusedError("ReservedAttribute", f"{META} is Sluice's own; rename the attribute")
    return document
