"""What verify and repair note on the index, and what a resumed verify says: no more than is so."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.checkpoint import Share
from console.errors import CheckpointError, InterruptedByUserError
from console.repair import mend_all
from console.session import Session
from console.verify.agreement import (
    Agreement,
    Part,
    add_note,
    is_noted,
    note_agreement,
    read_agreement,
)
from console.verify.command import Request, Verified, verified
from worker.cluster import Answer
from worker.schema import alias_body

ENVIRONMENT = {
    "SLUICE_QUEUE_URL": "http://sqs/1/queue",
    "SLUICE_DEAD_LETTER_URL": "http://sqs/1/dead",
    "SLUICE_OVERFLOW_BUCKET": "bucket",
    "SLUICE_ELASTICSEARCH_URL": "http://es",
    "SLUICE_TABLES": "examples.plain.tables",
    "AWS_REGION": "eu-west-1",
}
NAME = "notes"
INDEX = f"{NAME}-v1"


class Hasty(Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


@dataclass
class Account:
    """An empty table, an empty queue, and an index; as their services answer."""

    label: str = "first"
    foreign: set[str] = field(default_factory=set)
    """Documents of the index that Sluice did not write."""
    meta: dict[str, Any] = field(default_factory=dict)
    at_scan: Callable[[], None] = lambda: None
    at_delete: Callable[[], None] = lambda: None
    at_put: Callable[[], None] = lambda: None

    def describe_table(self, **_: Any) -> Any:
        return {
            "Table": {
                "TableName": NAME,
                "TableArn": "arn",
                "TableId": "id",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "StreamSpecification": {"StreamEnabled": True},
                "LatestStreamLabel": self.label,
                "LatestStreamArn": f"arn/stream/{self.label}",
            }
        }

    def scan(self, **_: Any) -> Any:
        self.at_scan()
        return {"Items": [], "ScannedCount": 0}

    def batch_get_item(self, **_: Any) -> Any:
        return {"Responses": {}, "UnprocessedKeys": {}}

    def get_queue_attributes(self, **_: Any) -> Any:
        counts = {f"ApproximateNumberOfMessages{name}": "0" for name in ("", "NotVisible")}
        policy = json.dumps({"deadLetterTargetArn": "dead", "maxReceiveCount": 5})
        pair = {"RedrivePolicy": policy, "QueueArn": "dead"}
        return {
            "Attributes": {**counts, **pair, "VisibilityTimeout": "360"},
            "ResponseMetadata": {"HTTPHeaders": {}},
        }

    def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Answer:
        answer: Any = {}
        match method, path.partition("/")[2].partition("/")[2].partition("/")[0]:
            case "GET", "":
                aliases = {NAME: alias_body(), f"{NAME}-write": {}}
                answer = {INDEX: {"aliases": aliases, "mappings": {}, "settings": {}}}
            case "GET", "notes-write*":
                answer = {INDEX: {"aliases": {f"{NAME}-write": {}, NAME: {}}}}
            case "GET", "_mapping":
                answer = {INDEX: {"mappings": {"_meta": self.meta}}}
            case "PUT", "_mapping":
                self.meta = json.loads(json.dumps(body["_meta"]))
                self.at_put()
            case "DELETE", "_doc":
                self.at_delete()
                self.foreign.discard(unquote(path.rpartition("/")[2]))
            case "POST", "_search":
                # Foreign documents are those without a digest; there are no others.
                foreign = () if "sort" in body else sorted(self.foreign)
                answer = {"hits": {"hits": [self._document(name) for name in foreign]}}
            case "POST", "_count":
                answer = {"count": 0}
            case "POST", "_mget":
                answer = {"docs": [self._document(doc["_id"]) for doc in body["docs"]]}
        return Answer(200, answer)

    def _document(self, name: str) -> dict[str, Any]:
        there = {"found": True, "_seq_no": 1, "_primary_term": 1, "_source": {}}
        return {"_id": name, **(there if name in self.foreign else {"found": False})}

    @property
    def agreed(self) -> Agreement | None:
        return read_agreement({"_meta": self.meta})

    def session(self) -> Session:
        session = Session(ENVIRONMENT, stop=Hasty())
        vars(session).update(dict.fromkeys(("dynamodb", "sqs", "s3", "cluster"), self))
        return session


def verify(account: Account, request: Request) -> tuple[Verified, int]:
    with verified(account.session(), request) as (result, findings):
        return result, findings.count


def ask(**asked: Any) -> Request:
    return Request(table=NAME, **{"segments": 2, "settle_s": 0, "patience_s": 60, **asked})


def test_a_verify_notes_the_stream_and_the_time_it_began_with() -> None:
    account = Account()
    account.at_scan = lambda: setattr(account, "label", "second")
    result, _ = verify(account, ask())
    assert (result.noted, result.proof.label, account.agreed) == (True, "first", result.proof)


def test_a_repair_notes_the_stream_and_the_time_its_comparison_began_with() -> None:
    account = Account(foreign={"by hand"})
    account.at_delete = lambda: setattr(account, "label", "second")
    began: list[int] = []
    account.at_scan = lambda: began.append(0)
    done = mend_all(account.session(), ask(), quiet=True)
    assert (done.mended, done.left, account.label) == (1, 0, "second")
    assert account.agreed is not None
    assert account.agreed.label == "first"


def interrupt(account: Account, request: Request) -> None:
    """Verify until everything is compared, and be interrupted before it is looked at again."""
    session = account.session()
    asked = 0

    def stop_at_queue(**_: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:  # the first is asked before anything is read
            session.stop.set()
        counts = account.get_queue_attributes()["Attributes"]
        return {"Attributes": {**counts, "ApproximateNumberOfMessages": "1"}}

    busy: Any = type("Busy", (), {"get_queue_attributes": staticmethod(stop_at_queue)})()
    vars(session)["sqs"] = busy
    with pytest.raises(InterruptedByUserError), verified(session, request):
        pass


def test_a_verify_resumed_under_another_stream_is_refused(tmp_path: Path) -> None:
    account = Account(foreign={"by hand"})
    request = ask(checkpoint=str(tmp_path / "verify"))
    interrupt(account, request)
    account.label = "second"
    with pytest.raises(CheckpointError, match="label: 'first' there, 'second' here"):
        verify(account, request)


def test_a_repair_that_resumes_its_verify_notes_when_that_began(tmp_path: Path) -> None:
    account = Account(foreign={"by hand"})
    request = ask(checkpoint=str(tmp_path / "verify"))
    interrupt(account, request)
    began = json.loads((tmp_path / "verify").read_bytes())["began"]
    done = mend_all(account.session(), request, quiet=True)
    assert (done.left, account.agreed) == (0, Agreement("first", began))


def test_a_resumed_verify_finds_what_was_found_before(tmp_path: Path) -> None:
    account = Account(foreign={"by hand"})
    request = ask(checkpoint=str(tmp_path / "verify"))
    interrupt(account, request)
    assert verify(account, request)[1] == 1
    assert list(tmp_path.iterdir()) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def damage(path: Path) -> None:
    path.write_bytes(b"\0" * 40 + path.read_bytes()[40:])


@pytest.mark.parametrize("harm", [Path.unlink, cut, damage])
def test_a_resumed_verify_without_what_was_found_before_is_refused(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    account = Account(foreign={"by hand"})
    request = ask(checkpoint=str(tmp_path / "verify"))
    interrupt(account, request)
    harm(tmp_path / "verify.found")
    with pytest.raises(CheckpointError, match=r"verify\.found"):
        verify(account, request)
    assert account.agreed is None


def test_shares_close_a_gap_once_all_agree_as_of_the_earliest_beginning() -> None:
    account = Account()
    first, _ = verify(account, ask(share=Share(2, 2)))
    assert (first.noted, account.agreed) == (True, None)
    second, _ = verify(account, ask(share=Share(1, 2)))
    assert account.agreed == first.proof
    assert first.proof.at_ms <= second.proof.at_ms


def test_a_share_is_repaired_and_noted_as_one() -> None:
    account = Account(foreign={"by hand"})
    known = []
    for number in (1, 2):
        done = mend_all(account.session(), ask(share=Share(number, 2)), quiet=True)
        known.append((done.left, account.agreed is not None))
    assert known == [(0, False), (0, True)]


def test_shares_of_another_stream_or_of_another_cut_make_no_whole() -> None:
    account = Account()
    verify(account, ask(share=Share(1, 2)))
    account.label = "second"
    verify(account, ask(share=Share(2, 2)))
    verify(account, ask(share=Share(1, 2), segments=3))
    assert account.agreed is None
    last, _ = verify(account, ask(share=Share(2, 2), segments=3))
    assert last.noted
    assert account.meta["sluice"].keys() == {"agreed"}


@given(st.permutations(range(1, 5)), st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_in_whatever_order_shares_come_they_make_the_same_note(
    order: list[int], began: list[int]
) -> None:
    notes: dict[str, Any] = {"schema": 1}
    for number in order:
        agreement, part = Agreement("l", began[number - 1]), Part(number, 4, 8)
        notes = add_note(notes, agreement, part)
        assert is_noted(notes, agreement, part)
    assert notes == {"schema": 1, "agreed": {"label": "l", "at": min(began)}}


def test_shares_that_began_before_the_last_proof_do_not_take_it_back() -> None:
    notes = {"agreed": {"label": "new", "at": 50}}
    for number in (1, 2):
        notes = add_note(notes, Agreement("old", 10), Part(number, 2, 8))
    assert notes == {"agreed": {"label": "new", "at": 50}}
    assert add_note({"shares": "by hand"}, Agreement("l", 1), Part(1, 2, 8))["shares"]["began"]


def test_a_share_whose_note_is_overwritten_writes_it_again() -> None:
    account = Account()
    cluster: Any = account
    other = add_note({}, Agreement("l", 7), Part(2, 2, 8))

    def overwrite() -> None:
        account.at_put = lambda: None
        account.meta = {"sluice": other}

    account.at_put = overwrite
    note_agreement(cluster, INDEX, Agreement("l", 9), Part(1, 2, 8), lambda seconds: None)
    assert account.agreed == Agreement("l", 7)
