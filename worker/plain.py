"""Python values, as models and document functions give them, as JSON. Pure.

docs/values.md is the rule: the one that `worker.values` follows for typed values.
"""

import base64
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

from worker.errors import RefusedError
from worker.numbers import EXACT_INTEGERS, MalformedError, json_number, json_numbers
from worker.values import Json

NESTING: Final = 100
"""Objects and arrays around a value. What Elasticsearch maps is bounded by a setting of its own."""

_MAGNITUDE: Final = range(-400, 400)
"""Exponents of numbers that are written out; beyond, their digits fill a page."""

Unfold: TypeAlias = Callable[[object], object]
"""Makes a known value of a foreign one, or raises TypeError, ValueError."""


def _refuse(value: object) -> object:
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def plain(value: object, unfold: Unfold = _refuse) -> Json:
    """A Python value, as a document function or a model gives it, as JSON by the same rule.

    unfold: called with a value of any other type; what it answers is taken in its place.
    Raises RefusedError("UnsuitableValue"), naming the place, for what JSON cannot hold.
    """
    try:
        return _dispatch(value, unfold, NESTING)
    except (_UnsuitableError, RecursionError) as error:
        place = error.place if isinstance(error, _UnsuitableError) else ""
        raise RefusedError(
            "UnsuitableValue", f"{place}: {error}" if place else str(error)
        ) from error


class _UnsuitableError(ValueError):
    """Says what is wrong, and where: each container it passes on its way up adds its part."""

    place = ""

    def within(self, step: str) -> "_UnsuitableError":
        dot = "" if not self.place or self.place.startswith("[") else "."
        self.place = f"{step}{dot}{self.place}"[:500]
        return self


def _dispatch(value: Any, unfold: Unfold, left: int) -> Json:
    kind = type(value)
    if kind is str and value.isascii():
        return value
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        try:
            return scalar(value)
        except MalformedError as error:
            raise _UnsuitableError(str(error)) from error
    if not left:
        raise _UnsuitableError(f"nested deeper than {NESTING} levels")
    if kind is dict:
        return _object(value, unfold, left - 1)
    if kind is list or kind is tuple:
        return _array(value, unfold, left - 1)
    if kind is set or kind is frozenset:
        made = _array(_order(value, unfold), unfold, left - 1)
        return json_numbers(made) if all(map(_is_number, value)) else made
    return _dispatch(_simplify(value, unfold), unfold, left - 1)


def _object(value: Mapping[Any, Any], unfold: Unfold, left: int) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for name, member in value.items():
        key = name if type(name) is str and name.isascii() else _name(name, unfold)
        if key in made:
            raise _UnsuitableError(f"two members named {key!r:.80}")
        try:
            made[key] = _dispatch(member, unfold, left)
        except _UnsuitableError as error:
            raise error.within(key) from error.__cause__
    return made


def _name(name: object, unfold: Unfold) -> str:
    made = _dispatch(name, unfold, 2)
    if isinstance(made, bool) or not isinstance(made, str | int | float):
        raise _UnsuitableError(f"a {type(name).__name__} cannot name a member")
    return made if isinstance(made, str) else str(made)


def _array(value: Iterable[Any], unfold: Unfold, left: int) -> list[Json]:
    made: list[Json] = []
    for member in value:
        try:
            made.append(_dispatch(member, unfold, left))
        except _UnsuitableError as error:
            raise error.within(f"[{len(made)}]") from error.__cause__
    return made


def _order(members: Iterable[Any], unfold: Unfold) -> list[Any]:
    """Set members in one order, whatever their hashes: numbers by size, then text by its form."""

    def rank(member: object) -> tuple[int, Any]:
        if isinstance(member, int | float | Decimal) and member == member:  # noqa: PLR0124 - NaN
            return 0, member
        form = _dispatch(member, unfold, 2)
        return (1, form) if isinstance(form, str) else (2, repr(form))

    return sorted(members, key=rank)


def _is_number(member: object) -> bool:
    return isinstance(member, int | float | Decimal) and not isinstance(member, bool)


def _simplify(value: Any, unfold: Unfold) -> object:
    """One step from a type that JSON does not have to one that it may have."""
    if isinstance(value, Enum):
        return value.value
    for kind, simple in _SUBCLASSES:
        if isinstance(value, kind):
            return simple(value)
    try:
        return unfold(value)
    except (TypeError, ValueError) as error:
        raise _UnsuitableError(str(error)) from error


def _from_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("text that is no valid Unicode") from error
    return value


def _from_float(value: float) -> int | float | str:
    if not math.isfinite(value):
        raise MalformedError("a number that is not finite")
    return value if value % 1 else json_number(Decimal(repr(value)))


def _from_integer(value: int) -> int | float | str:
    return value if -EXACT_INTEGERS < value < EXACT_INTEGERS else _from_decimal(Decimal(value))


def _from_decimal(value: Decimal) -> int | float | str:
    if not value.is_finite():
        raise MalformedError("a number that is not finite")
    if value and value.adjusted() not in _MAGNITUDE:
        raise MalformedError("a number too large or too small to write out")
    return json_number(value)


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_SCALARS: Final[Mapping[type, Callable[[Any], Json]]] = {
    str: _from_text,
    int: _from_integer,
    float: _from_float,
    Decimal: _from_decimal,
    bool: bool,
    type(None): lambda value: value,
    bytes: _encode,
    UUID: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
}

_SUBCLASSES: Final[tuple[tuple[Any, Callable[[Any], object]], ...]] = (
    (str, str.__str__),
    (int, int),
    (float, float),
    (Decimal, Decimal),
    (datetime, lambda value: value.isoformat()),
    (date, lambda value: value.isoformat()),
    (time, lambda value: value.isoformat()),
    (UUID, str),
    (bytearray | memoryview, bytes),
    (bytes, bytes),
    (Mapping, dict),
    (AbstractSet, frozenset),
    (Sequence | ValuesView | deque, list),
)
