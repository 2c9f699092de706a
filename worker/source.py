"""The edge to the table itself: consistent reads of single items."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from producer.contract import Item
from worker.errors import RefusedError, UnavailableError
from worker.identity import key_text
from worker.overtime import awaited
from worker.wire import from_wire, wire_items

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

BATCH = 100
"""Most keys of one BatchGetItem (DynamoDB API reference)."""

_ROUNDS = 8


class Source(Protocol):
    """The table, as the worker may ask it."""

    def read(self, table: str, keys: Sequence[Item]) -> list[Item | None]:
        """What the table holds now under each key, read consistently; None where nothing is.

        Raises UnavailableError when the table does not answer, RefusedError when it answers that
        one of the keys cannot be one of its own.
        """


class DynamoSource:
    """`Source` on DynamoDB."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client

    def read(self, table: str, keys: Sequence[Item]) -> list[Item | None]:
        unique = {key_text(key): key for key in keys}
        names = list(unique)
        found: dict[str, Item] = {}
        for start in range(0, len(names), BATCH):
            batch = [unique[name] for name in names[start : start + BATCH]]
            for item in self._read_batch(table, batch):
                found[key_text({name: item[name] for name in batch[0]})] = item
        return [found.get(key_text(key)) for key in keys]

    def _read_batch(self, table: str, keys: list[Item]) -> list[Item]:
        request: Any = {table: {"Keys": _read_keys(keys), "ConsistentRead": True}}
        items: list[Item] = []
        for _ in range(_ROUNDS):
            try:
                with awaited("DynamoDB"):
                    answer = self._client.batch_get_item(RequestItems=request)
            except (BotoCoreError, ClientError) as error:
                if isinstance(error, ClientError) and _blames_keys(error):
                    raise RefusedError(
                        "MalformedKey", error.response["Error"]["Message"]
                    ) from error
                raise UnavailableError(f"cannot read the table {table}: {error}") from error
            items += wire_items(answer, answer["Responses"].get(table, []))
            request = answer.get("UnprocessedKeys")
            if not request:
                return items
        raise UnavailableError(f"the table {table} has too little capacity left to be read")


def _read_keys(keys: Sequence[Item]) -> list[dict[str, Any]]:
    try:
        return [from_wire(key) for key in keys]
    except ValueError as error:
        raise RefusedError("MalformedKey", f"no base64: {error}") from error


def _blames_keys(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ValidationException"
