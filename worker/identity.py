"""A document's id, routing and stored key, from an item's key.

The id is injective: two different keys never share one. It stays readable where it can:

- a text part stands as it is, but for ``%`` and ``|``, which are percent-escaped, and ``~`` at
  its start;
- a number part is ``~n`` and the number in canonical form, a binary part ``~b`` and unpadded
  base64url;
- the parts stand in the order of their attribute names, joined by ``|``;
- an id that would pass 512 bytes of UTF-8, Elasticsearch's limit, is ``~h`` and the SHA-256 of
  what it would have been.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

import orjson

from producer.contract import Item
from worker.errors import RefusedError

ID_BYTES: Final = 512
"""Limit of an Elasticsearch `_id` (mapping-id-field, Elasticsearch reference)."""

_DIGITS = Context(prec=60)


def document_id(key: Item) -> str:
    """The document's id. Raises RefusedError for a key that DynamoDB would not take."""
    if len(key) == 1:
        ((kind, value),) = next(iter(key.values())).items()
        whole = _part(kind, value)
    else:
        whole = "|".join(
            _part(kind, value) for name in sorted(key) for kind, value in key[name].items()
        )
    wire = _utf8(whole)
    return whole if len(wire) <= ID_BYTES else "~h" + hashlib.sha256(wire).hexdigest()


def routing_value(key: Item, attributes: tuple[str, ...]) -> str | None:
    """The routing of a document: the id that these key attributes alone would give.

    None without attributes. Raises RefusedError if the key has no such attribute.
    """
    if not attributes:
        return None
    missing = [name for name in attributes if name not in key]
    if missing:
        raise RefusedError(
            "MalformedKey", f"routing by {', '.join(missing)}, which the key does not have"
        )
    return document_id({name: key[name] for name in attributes})


def key_text(key: Item) -> str:
    """The key as the document carries it: canonical JSON of its typed form."""
    try:
        return orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # text that is no Unicode: `document_id` refuses it, in words
        return json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_key_text(text: str) -> Item:
    """The inverse of `key_text`."""
    key: dict[str, dict[str, Any]] = json.loads(text)
    return key


def _part(kind: str, value: object) -> str:
    if not isinstance(value, str):
        raise RefusedError("MalformedKey", f"a key attribute of type {kind} that is no text")
    part = _PARTS.get(kind)
    if part is None:
        raise RefusedError("MalformedKey", f"a key attribute of type {kind!r:.40}")
    return part(value)


def _text(value: str) -> str:
    if "%" in value or "|" in value:
        value = value.replace("%", "%25").replace("|", "%7C")
    return "%7E" + value[1:] if value.startswith("~") else value


def _number(value: str) -> str:
    try:
        number = _DIGITS.create_decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise RefusedError("MalformedKey", f"no number: {value!r:.60}")
    return f"~n{_DIGITS.normalize(number) or Decimal(0)}"


def _binary(value: str) -> str:
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("MalformedKey", f"no base64: {error}") from error
    return "~b" + base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")


_PARTS: Final[Mapping[str, Callable[[str], str]]] = {"S": _text, "N": _number, "B": _binary}


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RefusedError("MalformedKey", f"no valid Unicode: {error.reason}") from error
