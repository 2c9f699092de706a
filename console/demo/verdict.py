"""Does the index equal the table? Every item is compared with every document.

`compare` is pure; the readers around it ask the table, the index and the dead-letter queue.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson

from producer.contract import (
    ERROR_ATTRIBUTE,
    ID_ATTRIBUTE,
    INDEX_ATTRIBUTE,
    REASON_ATTRIBUTE,
    Item,
    parse_stream_arn,
)
from worker.cluster import Cluster, path
from worker.documents import make_document
from worker.errors import RefusedError, UnavailableError
from worker.identity import document_id, key_text
from worker.mappings import META
from worker.order import SEQUENCE_DIGITS
from worker.tables import Table
from worker.values import digest
from worker.wire import to_wire

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sqs import SQSClient

Kind: TypeAlias = Literal["missing", "stale", "left over"]

PAGE: Final = 500
_PEEK_S: Final = 30


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, as its attributes tell it."""

    error: str
    reason: str
    index: str
    id: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where index and table disagree."""

    kind: Kind
    id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the comparison found. live + hidden + refused + missing and stale = items."""

    items: int
    live: int
    """Items whose document is as it must be."""
    hidden: int
    """Items that their document function hides, and that are hidden."""
    refused: tuple[Letter, ...]
    """Items that are not in the index as they are, each with the dead letter that says why."""
    tombstones: int
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether the index equals the table, but for what is in the dead-letter queue."""
        return not self.differences

    def count(self, kind: Kind) -> int:
        """Differences of one kind."""
        return sum(difference.kind == kind for difference in self.differences)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is compared: a table as declared, its key and its stream."""

    table: Table[Any]
    key: tuple[str, ...]
    stream: str


def compare(
    subject: Subject,
    items: Iterable[Item],
    documents: Mapping[str, Mapping[str, Any]],
    letters: Iterable[Letter],
) -> Verdict:
    """Compare a table's items with all documents behind its write alias, by id. Pure."""
    explained = {
        letter.id: letter for letter in letters if letter.index == subject.table.write_alias
    }
    label = parse_stream_arn(subject.stream).label
    live = hidden = 0
    refused: list[Letter] = []
    differences: list[Difference] = []
    seen: set[str] = set()
    for item in items:
        key = {name: item[name] for name in subject.key}
        id_ = document_id(key)
        seen.add(id_)
        difference = _judge(subject.table, key, item, documents.get(id_), label)
        if difference is None:
            is_live = documents[id_][META]["state"] == "live"
            live, hidden = live + is_live, hidden + (not is_live)
        elif id_ in explained:
            refused.append(explained[id_])
        else:
            differences.append(difference)
    rest = {id_: document for id_, document in documents.items() if id_ not in seen}
    left = [Difference("left over", id_, _name_state(d)) for id_, d in rest.items() if _shows(d)]
    return Verdict(
        items=len(seen),
        live=live,
        hidden=hidden,
        refused=tuple(refused),
        tombstones=len(rest) - len(left),
        differences=(*differences, *left),
    )


def _judge(
    table: Table[Any], key: Item, item: Item, document: Mapping[str, Any] | None, label: str
) -> Difference | None:
    id_ = document_id(key)
    try:
        expected = make_document(table, item)
    except RefusedError as error:
        return Difference("missing", id_, f"the item is refused: {error}")
    if document is None or _state(document) == "deleted":
        return Difference("missing", id_, "no document" if document is None else "a tombstone")
    state = "hidden" if expected is None else "live"
    fields = {name: value for name, value in document.items() if name != META}
    meta = document.get(META) or {}
    if _state(document) != state:
        why = f"it is {_state(document)}, and must be {state}"
    elif fields != orjson.loads(orjson.dumps(expected or {})):
        why = "other content"
    elif meta.get("digest") != digest(item):
        why = "the digest of another item"
    elif meta.get("key") != key_text(key):
        why = "another key"
    elif meta.get("label") != label or len(meta.get("sequence") or "") != SEQUENCE_DIGITS:
        why = "no position of this stream"
    else:
        return None
    return Difference("stale", id_, why)


def _state(document: Mapping[str, Any]) -> str | None:
    state = (document.get(META) or {}).get("state")
    return str(state) if state is not None else None


def _shows(document: Mapping[str, Any]) -> bool:
    return _state(document) != "deleted"


def _name_state(document: Mapping[str, Any]) -> str:
    return f"a {_state(document) or 'foreign'} document without an item"


def read_items(client: "DynamoDBClient", table: str) -> Iterator[Item]:
    """Every item of a table, read consistently."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    for page in pages:
        for item in page["Items"]:
            yield to_wire(item)


def read_documents(cluster: Cluster, alias: str) -> dict[str, dict[str, Any]]:
    """Every document behind an alias, by id, as of now. Raises UnavailableError."""
    cluster.request("POST", path(alias, "_refresh"))
    answer = cluster.request(
        "POST", path(alias, "_search"), params={"scroll": "1m"}, body={"size": PAGE}
    )
    documents: dict[str, dict[str, Any]] = {}
    while True:
        if answer.status != 200:
            raise UnavailableError(f"cannot read {alias}: {answer.error} {answer.reason:.300}")
        scroll = {"scroll_id": answer.body["_scroll_id"]}
        hits = answer.body["hits"]["hits"]
        if not hits:
            break
        documents |= {hit["_id"]: hit["_source"] for hit in hits}
        answer = cluster.request("POST", "/_search/scroll", body={"scroll": "1m", **scroll})
    cluster.request("DELETE", "/_search/scroll", body=scroll)
    return documents


def read_letters(client: "SQSClient", url: str) -> list[Letter]:
    """What is in the dead-letter queue. The messages stay there."""
    handles: list[str] = []
    letters: list[Letter] = []
    while messages := client.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=_PEEK_S,
        MessageAttributeNames=["All"],
    ).get("Messages"):
        handles += [message["ReceiptHandle"] for message in messages]
        letters += [_read_letter(message.get("MessageAttributes", {})) for message in messages]
    for handle in handles:
        client.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    return letters


def _read_letter(attributes: Mapping[str, Any]) -> Letter:
    names: Sequence[str] = (ERROR_ATTRIBUTE, REASON_ATTRIBUTE, INDEX_ATTRIBUTE, ID_ATTRIBUTE)
    return Letter(*(attributes.get(name, {}).get("StringValue", "") for name in names))
