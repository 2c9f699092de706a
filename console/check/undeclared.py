"""Attributes that a model does not declare, and that its document has lost. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

Way: TypeAlias = tuple[str, ...]
"""An attribute by the names that lead to it; those of list members are the list's."""


def find_lost(subject: object, document: Mapping[str, Any]) -> set[str]:
    """What the model took in without declaring it, and no key of the document is named after.

    subject: what the document function was given.
    """
    kept = set(_names(document))
    return {".".join(way) for way in _undeclared(subject, ()) if way[-1] not in kept}


def _undeclared(value: object, way: Way) -> Iterator[Way]:
    if isinstance(value, BaseModel):
        yield from ((*way, name) for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from _undeclared(getattr(value, name), (*way, name))
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from _undeclared(member, (*way, str(name)))
    elif isinstance(value, list | tuple | set | frozenset):
        for member in value:
            yield from _undeclared(member, way)


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield str(name)
            yield from _names(member)
    elif isinstance(value, list):
        for member in value:
            yield from _names(member)
