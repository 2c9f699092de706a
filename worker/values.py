"""Typed DynamoDB values as Python values and as JSON. docs/values.md is the rule in one table.

Pure, and on the worker's hottest path: it runs for every attribute of every change. So the happy
path knows nothing of where it is; whoever needs the name of a bad attribute looks for it after.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from producer.contract import Item
from worker.errors import RefusedError
from worker.numbers import (
    MalformedError,
    canonical_number,
    json_number,
    json_numbers,
    plain_number,
    read_decimal,
    read_number,
)

NESTING: Final = 32
"""Maps and lists around a value (Constraints in Amazon DynamoDB). DynamoDB Local 3.3.1 counts the
item itself as one, and so takes 31."""

Json: TypeAlias = Any
"""None, bool, int, float, str, list of these, dict from str to these."""


def _string(content: object) -> str:
    if not isinstance(content, str):
        raise MalformedError("an S that is no text")
    return content if content.isascii() else _unicode(content)


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("text that is no valid Unicode") from error
    return text


def _binary(content: object) -> bytes:
    if not isinstance(content, str):
        raise MalformedError("a B that is no base64 text")
    try:
        return binascii.a2b_base64(content, strict_mode=True)
    except ValueError as error:
        raise MalformedError(f"no base64: {error}") from error


def _base64(content: object) -> str:
    return base64.b64encode(_binary(content)).decode("ascii")


def _boolean(content: object) -> bool:
    if content is True or content is False:
        return content
    raise MalformedError("a BOOL that is neither true nor false")


def _null(content: object) -> object:
    if content is not True:
        raise MalformedError("a NULL that is not true")
    return None


def _members(content: object) -> list[Any]:
    if not isinstance(content, list):
        raise MalformedError("a set that is no list")
    return content


def _numbers(content: object) -> list[Json]:
    numbers = [plain_number(member) for member in _members(content)]
    if str not in map(type, numbers):
        return sorted(set(numbers))
    return json_numbers(
        [json_number(number) for number in sorted(set(map(read_decimal, _members(content))))]
    )


_Scalars: TypeAlias = Mapping[str, Callable[[Any], Any]]

_READ: Final[_Scalars] = {
    "S": _string,
    "N": read_number,
    "B": _binary,
    "BOOL": _boolean,
    "NULL": _null,
    "SS": lambda content: set(map(_string, _members(content))),
    "NS": lambda content: set(map(read_number, _members(content))),
    "BS": lambda content: set(map(_binary, _members(content))),
}

_PLAIN: Final[_Scalars] = {
    "S": _string,
    "N": plain_number,
    "B": _base64,
    "BOOL": _boolean,
    "NULL": _null,
    "SS": lambda content: sorted(set(map(_string, _members(content)))),
    "NS": _numbers,
    "BS": lambda content: sorted(set(map(_base64, _members(content)))),
}

_CANONICAL: Final[_Scalars] = {
    "N": lambda content: {"N": canonical_number(content)},
    "B": lambda content: {"B": _base64(content)},
    "BOOL": lambda content: {"BOOL": _boolean(content)},
    "NULL": lambda content: {"NULL": _null(content)},
    "SS": lambda content: {"SS": sorted(set(map(_string, _members(content))))},
    "NS": lambda content: {"NS": sorted(set(map(canonical_number, _members(content))))},
    "BS": lambda content: {"BS": sorted(set(map(_base64, _members(content))))},
}


def _converter(scalars: _Scalars, *, typed: bool) -> Callable[[Any, int], Any]:
    """A function from a typed value, and the nesting left, to what `scalars` make of it.

    typed: text, maps and lists keep their type around them.
    """
    number = scalars["N"]

    def convert(value: Any, left: int) -> Any:
        try:
            ((kind, content),) = value.items()
        except (AttributeError, ValueError) as error:
            raise MalformedError("no typed value") from error
        if kind == "S":
            if type(content) is not str or not content.isascii():
                _string(content)
            return value if typed else content
        if kind == "N":
            return number(content)
        if kind == "M" and type(content) is dict and left:
            made: Any = {name: convert(member, left - 1) for name, member in content.items()}
            return {kind: made} if typed else made
        if kind == "L" and type(content) is list and left:
            made = [convert(member, left - 1) for member in content]
            return {kind: made} if typed else made
        scalar = scalars.get(kind)
        if scalar is None:
            raise MalformedError(_complaint(kind, content))
        return scalar(content)

    return convert


def _complaint(kind: str, content: object) -> str:
    if kind not in ("M", "L"):
        return f"of an unknown type {kind!r:.40}"
    if not isinstance(content, dict if kind == "M" else list):
        return f"an {kind} that is no {'object' if kind == 'M' else 'array'}"
    return f"nested deeper than {NESTING} levels"


_SPELT_OTHERWISE: Final = re.compile(
    rb'\{"(?:[SNB]S"|B"|NULL"|N":"(?!(?:0|-?[1-9][0-9]{0,36}'
    rb'|-?(?:0|[1-9][0-9]{0,17})\.[0-9]{0,17}[1-9])"))'
)
"""In the JSON of a checked value: a set, a binary, a null or a number that a digest may spell in
another way. Text cannot look like one: within a JSON string a quote has a backslash before it."""

_read = _converter(_READ, typed=False)
_plain = _converter(_PLAIN, typed=False)
_canonical = _converter(_CANONICAL, typed=True)


def read_item(item: Item) -> dict[str, Any]:
    """A typed item as Python values: str, int or Decimal, bytes, set, dict, list, bool, None.

    Raises RefusedError("MalformedItem"), naming the attribute, for what DynamoDB cannot hold.
    """
    return _convert(item, _read)


def plain_item(item: Item) -> dict[str, Json]:
    """A typed item as JSON: what `worker.plain` makes of `read_item`, in one step.

    Raises RefusedError("MalformedItem"), naming the attribute, for what DynamoDB cannot hold.
    """
    return _convert(item, _plain)


def digest(item: Item, *, checked: bool = False) -> str:
    """A digest of a typed item, 32 hexadecimal digits. Equal items, and only they, share it.

    Neither the order of attributes and set members nor the spelling of a number matters; types do.
    checked: `read_item` or `plain_item` took it, or DynamoDB gave it; half the time then.
    Raises RefusedError("MalformedItem"), naming the attribute, for what DynamoDB cannot hold.
    """
    try:
        spelt = _spell_checked(item) if checked else _convert(item, _canonical)
        text = orjson.dumps(spelt, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # an attribute's name: values have been looked at
        raise RefusedError("MalformedItem", f"no valid Unicode in a name: {error}") from error
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _spell_checked(item: Item) -> dict[str, Any]:
    """`_convert(item, _canonical)` as JSON has it, without walking what needs no other spelling."""
    spelt: dict[str, Any] = {}
    for name, value in item.items():
        ((kind, _),) = value.items()
        if kind in ("S", "BOOL"):
            spelt[name] = value
        elif kind in ("M", "L"):
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            odd = _SPELT_OTHERWISE.search(text)
            spelt[name] = _canonical(value, NESTING) if odd else orjson.Fragment(text)
        else:
            spelt[name] = _canonical(value, NESTING)
    return spelt


def _convert(item: Item, convert: Callable[[Any, int], Any]) -> dict[str, Any]:
    try:
        return {name: convert(value, NESTING) for name, value in item.items()}
    except (MalformedError, RecursionError) as error:
        raise RefusedError("MalformedItem", _locate(item, convert, error)) from error


def _locate(item: Item, convert: Callable[[Any, int], Any], error: Exception) -> str:
    """Say where the error is: the innermost attribute that cannot be converted by itself."""
    path, value, left = "", {"M": item}, NESTING + 1
    while left and (found := _culprit(value, convert, left - 1)) is not None:
        step, value = found
        left -= 1
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return f"{path.encode(errors='replace').decode():.500}: {error}" if path else str(error)


def _culprit(
    value: Any, convert: Callable[[Any, int], Any], left: int
) -> tuple[int | str, Any] | None:
    if not isinstance(value, dict) or len(value) != 1:
        return None
    ((kind, content),) = value.items()
    inner: Iterable[tuple[int | str, Any]]
    if kind == "M" and isinstance(content, dict):
        inner = content.items()
    elif kind == "L" and isinstance(content, list):
        inner = enumerate(content)
    else:
        return None
    for step, member in inner:
        try:
            convert(member, left)
        except (MalformedError, RecursionError):
            return step, member
    return None
