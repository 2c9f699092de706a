"""From the body of an SQS message to the one call it stands for, or to why there is none.

Stock kombu trusts the sender: a missing field crashes the worker, a header may name another
serialiser, a time to run at or a compression. Here nothing of the sender's is passed on but a
known task's name, the task's id and one argument, which is text.

What is read, at both layers: JSON, or strict base64 of JSON, recognised by itself and not by
what a header says. A producer writes plain JSON at both (`producer.contract.write_envelope`);
Celery's own SQS transport, if somebody sends or redrives a task with it, writes base64 at both.
The two cannot be confused: JSON objects and arrays start with a character outside base64.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from producer.contract import CHANGES_TASK, RECORD_TASK

UNDECODABLE_TASK: Final = "sluice.undecodable"
"""Internal task that takes what cannot be read. Not in TASKS: no message can name it."""

TASKS: Final[frozenset[str]] = frozenset({CHANGES_TASK, RECORD_TASK})
"""The tasks that a message may name."""

_ID = re.compile(r"[!-~]{1,255}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Call:
    """A task to run, with its single argument."""

    task: str
    id: str
    payload: str


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A body that stands for no call."""

    body: str
    """As received, except that lone surrogates, which no UTF-8 can carry, became U+FFFD."""
    reason: str


class _UnreadableError(ValueError):
    """Why a body stands for no call."""


def read_body(body: object) -> Call | Undecodable:
    """The call in a message's body. Never raises, whatever the body is."""
    text = body if isinstance(body, str) else ""
    try:
        return _read_envelope(text)
    except _UnreadableError as error:
        return Undecodable(_SURROGATE.sub("\ufffd", text), str(error))


def _read_envelope(text: str) -> Call:
    if not text.strip():
        _refuse("the body is empty")
    envelope = _read_layer(text, "body", "{")
    if not isinstance(envelope, dict):
        _refuse("the body is no JSON object")
    _check_encoding(envelope)
    headers = envelope.get("headers")
    if not isinstance(headers, dict):
        _refuse("no 'headers': not a Celery task message of protocol 2")
    task, id_ = headers.get("task"), headers.get("id")
    if not isinstance(task, str) or task not in TASKS:
        _refuse(f"unknown task {task!r:.120}")
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        _refuse(f"the task's id is no printable text: {id_!r:.120}")
    inner = envelope.get("body")
    if not isinstance(inner, str):
        _refuse("the inner body is no text")
    return Call(task, id_, _read_argument(_read_layer(inner, "inner body", "[")))


def _check_encoding(envelope: dict[str, Any]) -> None:
    kind = envelope.get("content-type")
    if kind != "application/json":
        _refuse(f"the content type is not application/json but {kind!r:.120}")
    encoding = envelope.get("content-encoding", "utf-8")
    if not isinstance(encoding, str) or encoding.lower() not in ("utf-8", "utf8"):
        _refuse(f"the content encoding is not utf-8 but {encoding!r:.120}")


def _read_argument(call: object) -> str:
    if not isinstance(call, list) or len(call) != 3:
        _refuse("the inner body is not a list of args, kwargs and embed")
    args, kwargs, embed = call
    if not isinstance(args, list) or len(args) != 1 or not isinstance(args[0], str):
        _refuse("the task takes exactly one argument, a text")
    if kwargs != {}:
        _refuse("the task takes no keyword arguments")
    if not isinstance(embed, dict) or any(value is not None for value in embed.values()):
        _refuse("callbacks, chains and chords are not supported")
    payload: str = args[0]
    if not payload.isascii() and _SURROGATE.search(payload):
        _refuse("the argument holds a lone surrogate")
    return payload


def _read_layer(text: str, name: str, opening: str) -> object:
    stripped = text.strip()
    if not stripped.startswith(opening):
        stripped = _read_base64(stripped, name, opening)
    try:
        value: object = json.loads(stripped)
    except RecursionError:
        _refuse(f"the {name} is nested too deeply")
    except ValueError as error:
        _refuse(f"the {name} is not JSON: {error!s:.200}")
    return value


def _read_base64(text: str, name: str, opening: str) -> str:
    try:
        decoded = base64.b64decode(text, validate=True).decode().strip()
    except (binascii.Error, ValueError):  # text outside ASCII and bytes outside UTF-8 included
        _refuse(f"the {name} is neither JSON nor base64 of it")
    if not decoded.startswith(opening):
        _refuse(f"the {name} is neither JSON nor base64 of it")
    return decoded


def _refuse(reason: str) -> NoReturn:
    raise _UnreadableError(_SURROGATE.sub("\ufffd", reason))
