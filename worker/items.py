"""The table's items as its owner's models, for scripts and tests: get, scan page by page, iterate.

    items = Items(posts, boto3.client("dynamodb"))
    post = items.get(id="post-1")
    for post in items.iterate():
        ...

Reads are consistent. Nothing here is on the worker's way: it reads by `worker.source`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, NewType, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from producer.contract import Item
from worker.documents import read_subject
from worker.errors import RefusedError, SluiceError, UnavailableError
from worker.identity import key_text
from worker.tables import Table
from worker.wire import from_wire, to_wire, wire_items

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ItemT = TypeVar("ItemT")

Token = NewType("Token", str)
"""Where a scan goes on: text without spaces, good for as long as the table is. It holds the key of
the last item that was read."""

SEGMENTS: Final = 1_000_000
"""Most segments of a parallel scan (Scan, Amazon DynamoDB API reference)."""


class UnreadableItemError(SluiceError):
    """The table's model refuses this item. The caller decides whether to go on without it."""

    def __init__(self, table: str, key: Item, reason: str) -> None:
        super().__init__(f"the table {table} holds {key_text(key)}, and {reason}")
        self.key = key
        self.reason = reason


class WrongRequestError(SluiceError, ValueError):
    """The caller asked for what the table cannot have: another key, a token of another scan."""


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """What one request of a scan returned. It may be empty, and not be the last."""

    items: list[ItemT]
    next: Token | None
    """Where to go on; None at the end of the segment."""


class Items(Generic[ItemT]):
    """One table's items, as its model, or without one as dicts. Threads may share it."""

    def __init__(
        self,
        table: Table[ItemT],
        client: "DynamoDBClient",
        *,
        on_unreadable: Callable[[UnreadableItemError], object] | None = None,
    ) -> None:
        """Read a table that is there. Its key attributes are asked for once.

        client: boto3's, `boto3.client("dynamodb")`; it tries again by its own rules.
        on_unreadable: is given each item that the model refuses, and the item is left out; without
            it, UnreadableItemError is raised.
        """
        self.table = table
        self._client = client
        self._on_unreadable = on_unreadable
        self._keys: tuple[str, ...] = ()

    def get(self, key: Mapping[str, Any] | None = None, /, **attributes: Any) -> ItemT | None:
        """The item under a key, read consistently; None if there is none.

        The key is given by the table's attribute names: `get(id="a")`, or, where those are no
        Python names, `get({"post-id": "a"})`.
        Raises WrongRequestError for what is no key of the table, UnreadableItemError,
        UnavailableError.
        """
        given = {**(key or {}), **attributes}
        names = self._key_names()
        if given.keys() != set(names):
            raise WrongRequestError(
                f"the key of {self.table.name} is {', '.join(names)}, and {sorted(given)} was given"
            )
        typed = {name: _write_key(name, value) for name, value in given.items()}
        answer = self._ask(self._client.get_item, Key=typed, ConsistentRead=True)
        read = [] if "Item" not in answer else self._read(answer, [answer["Item"]])
        return read[0] if read else None

    def scan(
        self,
        *,
        start: Token | None = None,
        segment: int = 0,
        segments: int = 1,
        limit: int | None = None,
    ) -> Page[ItemT]:
        """One page of the table, or of one of so many segments of it, read consistently.

        start: the `next` of the page before, of the same segment; None begins. Followed to its
        end, a scan reads each item that is there all the while once, whatever else is written.
        limit: most items of the page; DynamoDB itself ends one at 1 MB.
        Raises WrongRequestError, UnreadableItemError, UnavailableError.
        """
        if not 0 <= segment < segments <= SEGMENTS:
            raise WrongRequestError(f"segment {segment} of {segments}: count them from 0")
        request: dict[str, Any] = {"ConsistentRead": True}
        if segments > 1:
            request |= {"Segment": segment, "TotalSegments": segments}
        if limit is not None:
            request["Limit"] = limit
        if start is not None:
            request["ExclusiveStartKey"] = self._read_token(start, segment, segments)
        answer = self._ask(self._client.scan, **request)
        last = answer.get("LastEvaluatedKey")
        token = None if not last else _write_token(to_wire(last), segment, segments)
        return Page(self._read(answer, answer["Items"]), token)

    def iterate(
        self, *, start: Token | None = None, segment: int = 0, segments: int = 1
    ) -> Iterator[ItemT]:
        """Every item, page after page, as `scan` reads them. Raises as `scan` does."""
        while True:
            page = self.scan(start=start, segment=segment, segments=segments)
            yield from page.items
            start = page.next
            if start is None:
                return

    def _read(self, answer: Mapping[str, Any], items: list[Any]) -> list[ItemT]:
        made: list[ItemT] = []
        for item in wire_items(answer, items):
            try:
                made.append(read_subject(self.table, item))
            except RefusedError as error:
                key = {name: item[name] for name in self._key_names()}
                unreadable = UnreadableItemError(self.table.name, key, str(error))
                if self._on_unreadable is None:
                    raise unreadable from error
                self._on_unreadable(unreadable)
        return made

    def _key_names(self) -> tuple[str, ...]:
        if not self._keys:
            answer = self._ask(self._client.describe_table)
            self._keys = tuple(part["AttributeName"] for part in answer["Table"]["KeySchema"])
        return self._keys

    def _read_token(self, token: Token, segment: int, segments: int) -> dict[str, Any]:
        try:
            of, key = json.loads(base64.urlsafe_b64decode(token))
            typed = from_wire(key)
        except (binascii.Error, ValueError, TypeError, AttributeError) as error:
            raise WrongRequestError(f"no token of a scan: {token!r:.80}") from error
        if of != [segment, segments] or typed.keys() != set(self._key_names()):
            raise WrongRequestError(
                f"the token of segment {of}, and segment {[segment, segments]} was asked for"
            )
        return typed

    def _ask(self, call: Callable[..., Any], **request: Any) -> Any:
        try:
            return call(TableName=self.table.name, **request)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and _blames_request(error):
                raise WrongRequestError(f"the table {self.table.name} refuses: {error}") from error
            raise UnavailableError(f"cannot read the table {self.table.name}: {error}") from error


def _write_key(name: str, value: object) -> dict[str, Any]:
    """A key attribute as boto3's client takes it. A bool is an int to Python, and no key."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return {"N": str(value)}
    raise WrongRequestError(f"{name} is {type(value).__name__}: a key is str, int, Decimal, bytes")


def _write_token(key: Item, segment: int, segments: int) -> Token:
    text = json.dumps([[segment, segments], key], separators=(",", ":"))
    return Token(base64.urlsafe_b64encode(text.encode()).decode("ascii"))


def _blames_request(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFoundException")
