"""The verdict sees each way in which an index can differ from its table."""

from typing import Any

import pytest

from console.demo.verdict import Letter, Subject, Verdict, compare
from producer.contract import Item
from worker.identity import key_text
from worker.tables import Table
from worker.values import digest

LABEL = "2024-01-01T00:00:00.000"
SUBJECT = Subject(
    Table("things", document=lambda item: None if item.get("secret") else item),
    ("id",),
    f"arn:aws:dynamodb:us-east-1:000000000000:table/things/stream/{LABEL}",
)


def make_item(number: int, **more: dict[str, Any]) -> Item:
    return {"id": {"S": f"t{number}"}, "size": {"N": str(number)}, **more}


def make_indexed(item: Item, **meta: Any) -> dict[str, Any]:
    ours = {
        "state": "live",
        "label": LABEL,
        "sequence": "7".zfill(40),
        "time": 1,
        "key": key_text({"id": item["id"]}),
        "digest": digest(item),
    }
    return {"id": item["id"]["S"], "size": int(item["size"]["N"]), "_sluice": {**ours, **meta}}


TOMBSTONE = {"_sluice": {"state": "deleted", "label": LABEL, "sequence": "9".zfill(40)}}


def judge(
    documents: dict[str, Any], items: list[Item] | None = None, letters: tuple[Letter, ...] = ()
) -> Verdict:
    return compare(SUBJECT, [make_item(1)] if items is None else items, documents, letters)


def test_an_index_that_equals_its_table_agrees() -> None:
    secret = make_item(2, secret={"BOOL": True})
    hidden = {"_sluice": make_indexed(secret, state="hidden")["_sluice"]}
    verdict = judge(
        {"t1": make_indexed(make_item(1)), "t2": hidden, "t3": TOMBSTONE}, [make_item(1), secret]
    )
    assert verdict.agrees
    assert (verdict.items, verdict.live, verdict.hidden, verdict.tombstones) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("document", "kind", "why"),
    [
        (None, "missing", "no document"),
        (TOMBSTONE, "missing", "a tombstone"),
        (make_indexed(make_item(1)) | {"size": 2}, "stale", "other content"),
        (make_indexed(make_item(1)) | {"more": 1}, "stale", "other content"),
        (make_indexed(make_item(1), digest="0"), "stale", "digest"),
        (make_indexed(make_item(1), key="{}"), "stale", "another key"),
        (make_indexed(make_item(1), state="hidden"), "stale", "must be live"),
        (make_indexed(make_item(1), label="2023"), "stale", "position"),
        (make_indexed(make_item(1), sequence="7"), "stale", "position"),
        (make_indexed(make_item(1), sequence=None), "stale", "position"),
        ({"id": "t1", "size": 1}, "stale", "must be live"),
    ],
)
def test_each_difference_is_seen_and_named(
    document: dict[str, Any] | None, kind: str, why: str
) -> None:
    (difference,) = judge({} if document is None else {"t1": document}).differences
    assert (difference.kind, difference.id) == (kind, "t1")
    assert why in difference.why


@pytest.mark.parametrize("document", [make_indexed(make_item(1)), {"foreign": True}])
def test_a_document_without_an_item_is_left_over(document: dict[str, Any]) -> None:
    (difference,) = judge({"t1": document}, []).differences
    assert difference.kind == "left over"


def test_a_hidden_item_that_is_searchable_is_stale() -> None:
    item = make_item(1, secret={"BOOL": True})
    (difference,) = judge({"t1": make_indexed(item)}, [item]).differences
    assert difference.kind == "stale"


def test_a_dead_letter_of_this_index_explains_what_is_missing() -> None:
    letter = Letter("parsing", "no date", SUBJECT.table.write_alias, "t1")
    verdict = judge({}, letters=(letter, letter))
    assert verdict.agrees
    assert verdict.refused == (letter,)


@pytest.mark.parametrize(
    "letter", [Letter("e", "r", "things-write", "t2"), Letter("e", "r", "others-write", "t1")]
)
def test_a_dead_letter_of_another_document_explains_nothing(letter: Letter) -> None:
    assert not judge({}, letters=(letter,)).agrees
