"""Typed items as DynamoDB writes them on the wire: the contract's form, binaries as base64 text."""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from producer.contract import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_PARTS: Final[Mapping[str, tuple[str, type]]] = {
    "Scan": ("Items", list),
    "BatchGetItem": ("Responses", dict),
}
"""Of each operation that answers with many items: where they are in its answer."""

_MARK: Final = "SluiceWire"


def keep_wire(client: "DynamoDBClient") -> None:
    """Have the items in this client's answers to Scan and BatchGetItem left as they came.

    Whoever reads those must read them by `wire_items`. All else in the answers, keys to go on from
    among it, and every answer but a good one is as boto3 gives it.
    """
    for operation in _PARTS:
        client.meta.events.register(f"before-parse.dynamodb.{operation}", _take_items)


def wire_items(answer: Mapping[str, Any], items: list[Any]) -> list[Item]:
    """Items out of an answer, in the contract's form, whether its client has `keep_wire` or not.

    They may be the very objects of the answer.
    """
    return items if _MARK in answer else [to_wire(item) for item in items]


def to_wire(item: Any) -> Item:
    """A typed item as boto3 gives it, in the contract's form: binaries as base64 text."""
    return {name: _walk(value, _encode) for name, value in item.items()}


def from_wire(item: Item) -> dict[str, Any]:
    """The inverse of `to_wire`."""
    return {name: _walk(value, base64.b64decode) for name, value in item.items()}


def _take_items(
    *,
    operation_model: Any,
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: object,
) -> None:
    """Hand the items past botocore's parser, which visits every value of each.

    botocore itself reads whatever is no plain good answer, and what orjson refuses and json does
    not, such as half a surrogate pair.
    """
    if response_dict["status_code"] != 200:
        return
    try:
        answer = orjson.loads(response_dict["body"])
    except orjson.JSONDecodeError:
        return
    name, kind = _PARTS[operation_model.name]
    if not isinstance(answer, dict) or not isinstance(answer.get(name), kind):
        return
    customized_response_dict |= {name: answer.pop(name), _MARK: True}
    response_dict["body"] = orjson.dumps(answer)


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _walk(typed: dict[str, Any], binary: Any) -> dict[str, Any]:
    ((kind, value),) = typed.items()
    if kind == "B":
        return {kind: binary(value)}
    if kind == "BS":
        return {kind: [binary(one) for one in value]}
    if kind == "M":
        return {kind: {name: _walk(one, binary) for name, one in value.items()}}
    if kind == "L":
        return {kind: [_walk(one, binary) for one in value]}
    return typed
