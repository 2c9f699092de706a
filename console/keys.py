"""An item's key as a person writes it. Pure.

Four ways, the first that fits: JSON, typed as DynamoDB writes it (`{"id": {"S": "a"}}`) or plain
(`{"id": "a"}`; binaries as base64); of a table whose key is one attribute, its value; the id of its
document, as `sluice verify`, `sluice search` and `sluice dead-letters list` print it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from console.errors import MisuseError
from producer.contract import Item
from worker.errors import RefusedError
from worker.identity import document_id

_EXAMPLES: Final = {"S": "text", "N": "42", "B": "AAEC"}


def read_key(text: str, types: Mapping[str, str]) -> Item:
    """The typed key, its attributes as the table declares them.

    types: S, N or B by key attribute. Raises MisuseError, with the forms for this very table.
    """
    try:
        key = _read(text, types)
        document_id(key)  # refuses what DynamoDB would not take either
    except (ValueError, RefusedError) as error:
        raise MisuseError(
            f"{text!r:.200} is no key of this table: {error}", hint=_show_forms(types)
        ) from error
    return key


def _read(text: str, types: Mapping[str, str]) -> Item:
    parts = text.split("|")
    if text.lstrip().startswith("{"):
        try:
            return _read_object(json.loads(text), types)
        except json.JSONDecodeError:
            if len(types) == 1 or len(parts) != len(types):
                raise  # else it is an id whose first part begins like JSON
    if len(types) == 1:
        ((name, kind),) = types.items()
        return {name: _read_value(text, kind) if kind != "B" else _read_binary(text)}
    if len(parts) != len(types):
        raise ValueError(f"it has {len(parts)} parts, and the key has {len(types)}")
    names = sorted(types)
    return {name: _read_part(part, types[name]) for name, part in zip(names, parts, strict=True)}


def _read_object(fields: object, types: Mapping[str, str]) -> Item:
    if not isinstance(fields, dict) or set(fields) != set(types):
        raise ValueError(f"the key has just {' and '.join(types)}")
    return {name: _read_field(name, fields[name], types[name]) for name in types}


def _read_field(name: str, value: Any, kind: str) -> dict[str, str]:
    if isinstance(value, dict):
        if set(value) != {kind} or not isinstance(value[kind], str):
            raise ValueError(f"{name} is of type {kind}, and holds text")
        return {kind: value[kind]}
    if kind == "N" and isinstance(value, int | float) and not isinstance(value, bool):
        return {"N": json.dumps(value)}
    if not isinstance(value, str):
        raise ValueError(f"{name} is of type {kind}")  # noqa: TRY004 - a person's text, not a call
    return {kind: value}


def _read_value(text: str, kind: str) -> dict[str, str]:
    """A key's single value. An id of the document differs from it in its mark alone."""
    return _read_part(text, kind) if text.startswith("~") else {kind: text}


def _read_binary(text: str) -> dict[str, str]:
    return _read_part(text, "B") if text.startswith("~b") else {"B": text}


def _read_part(part: str, kind: str) -> dict[str, str]:
    """A part of a document's id (worker.identity)."""
    if part.startswith("~h"):
        raise ValueError("it is a hash: give the key as JSON")
    if kind == "S":
        if part.startswith("~"):
            raise ValueError("it is an id of another type")
        return {"S": _unescape(part)}
    mark = f"~{kind.lower()}"
    if not part.startswith(mark):
        return {kind: part}
    inner = part.removeprefix(mark)
    return {kind: inner if kind == "N" else _standard_base64(inner)}


def _unescape(part: str) -> str:
    for escaped, plain in (("%7E", "~"), ("%7C", "|"), ("%25", "%")):
        part = part.replace(escaped, plain)
    return part


def _standard_base64(text: str) -> str:
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    return base64.b64encode(content).decode("ascii")


def _show_forms(types: Mapping[str, str]) -> str:
    typed = {name: {kind: _EXAMPLES.get(kind, "…")} for name, kind in types.items()}
    plain = {name: _EXAMPLES.get(kind, "…") for name, kind in types.items()}
    return f"write {json.dumps(plain)} or {json.dumps(typed)}"
