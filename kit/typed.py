"""Python values and models as typed DynamoDB items, exactly; and the limits DynamoDB sets. Pure.

The inverse of `worker.values.read_item`. What boto3's own TypeSerializer takes becomes the same
here, but for what it lets pass and DynamoDB does not: empty sets, truth values in sets, numbers out
of range. Beyond it, models, floats (the shortest decimal that makes them), dates, UUIDs and Enums
are taken, as code that writes to DynamoDB would have turned them into text and numbers.
"""

import base64
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

from boto3.dynamodb.types import Binary
from pydantic import AliasChoices, AliasPath, BaseModel, RootModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from kit.errors import UnwritableItemError
from producer.contract import Item
from worker.errors import RefusedError
from worker.numbers import MalformedError, canonical_number
from worker.values import digest, read_item

__all__ = [
    "check_item",
    "check_key",
    "count_bytes",
    "extract_key",
    "read_item",
    "same",
    "write_item",
]

ITEM_BYTES: Final = 400 * 1024
KEY_BYTES: Final = (2048, 1024)
"""Of the partition key and of the sort key (Quotas in Amazon DynamoDB, as is the item's)."""

Typed: TypeAlias = dict[str, Any]
Given: TypeAlias = BaseModel | Mapping[str, Any]
"""An item as a test writes it."""


class _FormlessError(ValueError):
    """Says what is wrong, and where: each container it passes on its way up adds its part."""

    place = ""

    def within(self, step: str) -> "_FormlessError":
        dot = "" if not self.place or self.place.startswith("[") else "."
        self.place = f"{step}{dot}{self.place}"
        return self


def write_item(item: Given) -> Item:
    """The typed item that a model, or a mapping of Python values, stands for.

    A model's fields get the names that it reads them by (its validation aliases); attributes that
    it took in undeclared come along. An empty set in a model is left out, since DynamoDB holds
    none; in a mapping it is refused, as DynamoDB does.

    Raises UnwritableItemError, naming the place, for what DynamoDB cannot hold, and for a model
    that does not read back what it says.
    """
    try:
        values = _attributes(item) if isinstance(item, BaseModel) else item
        written = _members(values)
        digest(written)
    except (_FormlessError, RefusedError, RecursionError) as error:
        place = f"{error.place}: " if isinstance(error, _FormlessError) and error.place else ""
        raise UnwritableItemError(f"{place}{error}") from error
    if isinstance(item, BaseModel):
        _check_model(item, written)
    return written


def check_item(item: Item, key: tuple[str, ...]) -> None:
    """Raise UnwritableItemError unless DynamoDB takes this item into a table with that key."""
    check_key(item, key)
    if count_bytes(item) > ITEM_BYTES:
        raise UnwritableItemError(f"the item has {count_bytes(item)} bytes; 400 KB is the limit")


def check_key(item: Item, key: tuple[str, ...]) -> Item:
    """The key within a typed item. Raises UnwritableItemError if DynamoDB would not take it."""
    found = extract_key(item, key)
    for (name, value), most in zip(found.items(), KEY_BYTES, strict=False):
        ((kind, _),) = value.items()
        if kind not in ("S", "N", "B"):
            raise UnwritableItemError(f"the key attribute {name} is a {kind}, no S, N or B")
        size = _value_bytes(value)
        if not 0 < size <= most:
            raise UnwritableItemError(f"the key attribute {name} has {size} bytes, not 1 to {most}")
    return found


def extract_key(item: Item, key: tuple[str, ...]) -> Item:
    """The key within a typed item. Raises UnwritableItemError if a part is missing."""
    missing = [name for name in key if name not in item]
    if missing:
        raise UnwritableItemError(
            f"the item has no key attribute {', '.join(missing)}: it has {', '.join(item):.200}",
            hint="name the attributes of the table, not the fields of the model: key=...",
        )
    return {name: item[name] for name in key}


def same(one: Item, other: Item) -> bool:
    """Whether two typed items, or keys, are equal to DynamoDB."""
    return digest(one) == digest(other)


def count_bytes(item: Item) -> int:
    """Size of a typed item as DynamoDB counts it (Developer Guide: item sizes and formats)."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Typed) -> int:
    ((kind, content),) = value.items()
    if kind == "M":
        return 3 + len(content) + count_bytes(content)
    if kind == "L":
        return 3 + sum(1 + _value_bytes(member) for member in content)
    if kind in ("BOOL", "NULL"):
        return 1
    return sum(map(_SIZES[kind[0]], content if len(kind) == 2 else [content]))


_SIZES: Final[Mapping[str, Callable[[str], int]]] = {
    "S": lambda text: len(text.encode()),
    "N": lambda text: (len(text.replace(".", "").strip("-0")) + 1) // 2 + 1,
    "B": lambda text: len(base64.b64decode(text)),
}


def _attributes(model: BaseModel) -> dict[str, Any]:
    """A model's values under the names it reads them by."""
    if isinstance(model, RootModel):
        raise _FormlessError(f"{type(model).__name__} is no item but a value")
    named = {
        _attribute(field, name): vars(model)[name]
        for name, field in type(model).model_fields.items()
        if name in vars(model)  # `model_construct` may leave some out
    }
    held = {n: v for n, v in named.items() if not isinstance(v, AbstractSet) or v}
    return {**held, **(model.model_extra or {})}


def _attribute(field: FieldInfo, name: str) -> str:
    alias = field.validation_alias or field.alias or name
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), name)
    if isinstance(alias, AliasPath):
        raise _FormlessError(f"{name} is read from within another attribute; give the item as dict")
    return alias


def _check_model(model: BaseModel, written: Item) -> None:
    """A test that writes something else than the model says would show nothing."""
    kind = type(model)
    try:
        back = _members(_attributes(kind.model_validate(read_item(written), extra="allow")))
    except (ValidationError, _FormlessError) as error:
        raise UnwritableItemError(
            f"{kind.__name__} does not read its own item: {error}", hint="give the item as a dict"
        ) from error
    if not same(back, written):
        names = [n for n in {**written, **back} if written.get(n) != back.get(n)]
        raise UnwritableItemError(
            f"{kind.__name__} reads its own item as another one, in {', '.join(names):.200}",
            hint="give the item as a dict",
        )


def _members(values: Mapping[Any, Any]) -> dict[str, Typed]:
    made = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise _FormlessError(f"a {type(name).__name__} cannot name an attribute")
        try:
            made[str(name)] = _write(value)
        except _FormlessError as error:
            raise error.within(name) from error.__cause__
    return made


def _write(value: Any) -> Typed:
    value = _simplify(value)
    if isinstance(value, bool | None):
        return {"NULL": True} if value is None else {"BOOL": value}
    for kinds, letter, write in _SCALARS:
        if isinstance(value, kinds):
            return {letter: write(value)}
    if isinstance(value, Mapping):
        return {"M": _members(value)}
    if isinstance(value, AbstractSet):
        return _write_set(value)
    return {"L": _elements(value)}


def _elements(values: Iterable[Any]) -> list[Typed]:
    made: list[Typed] = []
    for value in values:
        try:
            made.append(_write(value))
        except _FormlessError as error:
            raise error.within(f"[{len(made)}]") from error.__cause__
    return made


def _write_set(members: AbstractSet[Any]) -> Typed:
    typed = [_write(member) for member in members]
    kinds = {kind for member in typed for kind in member}
    if len(kinds) != 1 or not kinds <= {"S", "N", "B"}:
        held = ", ".join(sorted(kinds)) or "nothing"
        raise _FormlessError(f"a set of {held}; DynamoDB has sets of text, numbers or bytes alone")
    (kind,) = kinds
    return {f"{kind}S": sorted({member[kind] for member in typed})}


def _simplify(value: Any) -> Any:
    """A value of one of DynamoDB's own types."""
    if isinstance(value, Enum):
        return _simplify(value.value)
    for kinds, simple in _FOREIGN:
        if isinstance(value, kinds):
            return simple(value)
    if isinstance(value, _KNOWN):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise _FormlessError(f"a {type(value).__name__} has no form in DynamoDB") from error


def _number(value: float | Decimal) -> str:
    try:
        return canonical_number(repr(value) if isinstance(value, float) else str(value))
    except ValueError as error:
        says = str(error) if isinstance(error, MalformedError) else "a number of too many digits"
        raise _FormlessError(says) from error


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _FormlessError("text that is no valid Unicode") from error
    return str(value)


_KNOWN: Final = (
    str, bool, int, float, Decimal, bytes, bytearray, memoryview,
    Mapping, AbstractSet, list, tuple, deque, type(None),
)  # fmt: skip

_FOREIGN: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (RootModel, lambda value: _simplify(value.root)),
    (BaseModel, _attributes),
    (Binary, lambda value: value.value),
    (date | datetime | time, lambda value: value.isoformat()),
    (UUID, str),
)

_SCALARS: Final[tuple[tuple[Any, str, Callable[[Any], str]], ...]] = (
    (str, "S", _text),
    (int | float | Decimal, "N", _number),
    (bytes | bytearray | memoryview, "B", lambda value: base64.b64encode(value).decode("ascii")),
)
