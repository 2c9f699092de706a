"""Numbers of DynamoDB, exactly: as Python numbers, as JSON, in canonical form.

The rule for JSON (docs/values.md): a number stands as a JSON number if the shortest decimal form
of its nearest IEEE double is the number itself, so that every reader prints it back unchanged;
otherwise as text with all its digits, which Elasticsearch's numeric fields take as well.
"""

import math
import re
from decimal import Decimal
from typing import Final

DIGITS: Final = 38
"""Significant digits of a DynamoDB number."""

EXACT_INTEGERS: Final = 10**15
"""Every integer below is the shortest form of its own double (15 = DBL_DIG of IEEE 754)."""

_EXACT_CHARACTERS: Final = 15
_MAGNITUDE: Final = range(-130, 126)
"""Exponents of the first digit: 1E-130 to 9.99E+125 (Constraints in Amazon DynamoDB)."""

_CHARACTERS: Final = 400
"""No spelling of such a number is longer, within reason."""

_LONG: Final = 2**63
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9]", re.ASCII)
"""A number that is not integral, in its one spelling."""


class MalformedError(ValueError):
    """Says what is wrong with a value, not yet where it is."""


def read_decimal(text: object) -> Decimal:
    """The number that the text spells. Raises MalformedError if DynamoDB could not hold it."""
    if not isinstance(text, str) or len(text) > _CHARACTERS or not _NUMBER.fullmatch(text):
        raise MalformedError("no number")
    number = Decimal(text)
    if not number:
        return Decimal(0)
    if number.adjusted() not in _MAGNITUDE:
        raise MalformedError("a number beyond what DynamoDB holds")
    digits = number.as_tuple().digits
    if len(digits) > DIGITS and any(digits[DIGITS:]):
        raise MalformedError(f"a number of more than {DIGITS} digits")
    return number


def read_number(text: object) -> int | Decimal:
    """An int if the number is integral, else a Decimal. Raises MalformedError."""
    if type(text) is str and len(text) <= DIGITS:
        if _is_integer(text):
            return int(text)
        if _FRACTION.fullmatch(text):
            return Decimal(text)
    number = read_decimal(text)
    return int(number) if _is_integral(number) else number


def plain_number(text: object) -> int | float | str:
    """The number as JSON. Raises MalformedError."""
    if type(text) is str and len(text) <= DIGITS:
        if _is_integer(text):
            if len(text) <= _EXACT_CHARACTERS:
                return int(text)
        elif _FRACTION.fullmatch(text):
            double = float(text)
            return double if repr(double) == text else json_number(Decimal(text))
    return json_number(read_decimal(text))


def canonical_number(text: object) -> str:
    """All its digits in their one spelling. Raises MalformedError."""
    if (
        type(text) is str
        and len(text) <= DIGITS
        and (_is_integer(text) or _FRACTION.fullmatch(text))
    ):
        return text
    return _spell(read_decimal(text))


def json_number(number: Decimal) -> int | float | str:
    """A finite number as JSON: see the module."""
    double = float(number)
    if not math.isfinite(double) or Decimal(repr(double)) != number:
        return _spell(number)
    if _is_integral(number) and abs(number) < _LONG:
        return int(number)
    return double


def json_numbers(numbers: list[int | float | str]) -> list[int | float | str]:
    """The members of one set, each by `json_number`; all as text if one of them must be.

    Elasticsearch gives an array that it meets first a single type, and refuses one of two.
    """
    if str not in map(type, numbers):
        return numbers
    return [n if isinstance(n, str) else _spell(Decimal(repr(n))) for n in numbers]


def _spell(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_integral(number: Decimal) -> bool:
    return number == number.to_integral_value()


def _is_integer(text: str) -> bool:
    """Whether the text is an integer in its one spelling."""
    if text.isdigit():
        return text.isascii() and (text[0] != "0" or text == "0")
    digits = text[1:]
    return digits.isdigit() and text.isascii() and text[0] == "-" and digits[0] != "0"
