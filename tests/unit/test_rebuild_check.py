"""The check of a rebuild goes on where it was, and never passes over a difference."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from console.checkpoint import Journal
from console.errors import InterruptedByUserError, MisuseError
from console.rebuild import check
from console.rebuild.check import Check, MappingStore, TooManyDifferencesError
from console.rebuild.stand import Progress, read_progress
from console.rebuild.writing import Known, Written
from console.scan import Meter, TableReader
from console.verify.comparer import Comparer
from producer.contract import Item
from tests.sides import select_digests
from worker.cluster import Answer
from worker.identity import document_id, key_text
from worker.mappings import META
from worker.tables import Table
from worker.values import digest

TABLE: Table[Any] = Table("posts")
INDEX = "posts-v2"
ITEMS = 320
PAGE = 7
BEGAN = 5


class Hasty(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def make_item(number: int) -> Item:
    return {"id": {"S": f"{number:03}"}, "title": {"S": f"title {number}"}}


@dataclass
class Sides:
    """A table, and the index that is built from it, as their services answer."""

    absent: set[str] = field(default_factory=set)
    """Items without a document."""
    saves: int = 10**9
    """So many changes of the mapping, then the process is killed."""
    scanned: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Items whose keys were read for a document."""
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.meta = {"sluice": {"rebuild": asdict(Progress("copied", began=BEGAN))}}

    @property
    def progress(self) -> Progress:
        return read_progress({"_meta": self.meta})

    def scan(self, **request: Any) -> dict[str, Any]:
        part, parts = request["Segment"], request["TotalSegments"]
        first, end = ITEMS * part // parts, ITEMS * (part + 1) // parts
        if "ExclusiveStartKey" in request:
            first = int(request["ExclusiveStartKey"]["id"]["S"]) + 1
        items = [make_item(number) for number in range(first, min(end, first + PAGE))]
        self.scanned += [item["id"]["S"] for item in items]
        more = {"LastEvaluatedKey": {"id": items[-1]["id"]}} if first + PAGE < end else {}
        return {"Items": items, "ScannedCount": len(items), **more}

    def batch_get_item(self, *, RequestItems: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        keys = RequestItems[TABLE.name]["Keys"]
        self.asked += [key["id"]["S"] for key in keys]
        items = [make_item(int(key["id"]["S"])) for key in keys]
        return {"Responses": {TABLE.name: items}, "UnprocessedKeys": {}}

    def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Answer:
        match method, path.rpartition("/")[2]:
            case "GET", _:
                return Answer(200, {INDEX: {"aliases": {}, "mappings": {"_meta": self.meta}}})
            case "PUT", "_mapping":
                if not self.saves:
                    raise KeyboardInterrupt
                self.saves -= 1
                self.meta = json.loads(json.dumps(body["_meta"]))
            case "POST", "_count":
                return Answer(200, {"count": ITEMS})
            case "POST", "_mget":
                return Answer(200, {"docs": [self._find(doc["_id"]) for doc in body["docs"]]})
            case "POST", "_search":
                return Answer(200, {"hits": {"hits": self._search(body)}})
        return Answer(200, {"acknowledged": True})

    def _find(self, name: str) -> dict[str, Any]:
        if name in self.absent:
            return {"_id": name, "found": False}
        return {"found": True, **self._hit(make_item(int(name)))}

    def _search(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        there = {
            digest(make_item(number)): number
            for number in range(ITEMS)
            if document_id({"id": make_item(number)["id"]}) not in self.absent
        }
        return [self._hit(make_item(there[mark])) for mark in select_digests(body, sorted(there))]

    def _hit(self, item: Item) -> dict[str, Any]:
        key = {"id": item["id"]}
        meta = {"digest": digest(item), "state": "live", "key": key_text(key)}
        there = {"_id": document_id(key), "_seq_no": 1, "_primary_term": 1, "sort": [digest(item)]}
        return {**there, "_source": {META: meta}}


@dataclass
class Mender:
    """Writes what differs, but for what the new index refuses."""

    sides: Sides
    refused: set[str]
    carrier: Any = field(
        default_factory=lambda: SimpleNamespace(destination=SimpleNamespace(alias="write"))
    )

    def locate(self, key: Item) -> Any:
        return SimpleNamespace(id=document_id(key))

    def write(self, known: Sequence[Known], *, is_new: bool) -> Written:
        names = {document_id(one.key) for one in known}
        self.sides.absent -= names - self.refused
        reasons = dict.fromkeys(names & self.refused, ("parsing_exception", "no number"))
        return Written(refusals=reasons)


def run(
    sides: Sides, *, refused: Sequence[str] = (), stop: Hasty | None = None, label: str = "first"
) -> tuple[int, Check]:
    """A process that checks, alone and in one thread, and saves at each step."""
    anything: Any = sides
    stop = stop or Hasty()
    job = {"command": "rebuild", "label": label}
    store = MappingStore(anything, INDEX, job, BEGAN)
    reader = TableReader(anything, TABLE.name, ("id",), Meter(None), lambda: 5, stop)
    mender: Any = Mender(sides, set(refused))
    nothing: Any = SimpleNamespace(find=lambda alias, targets: {})
    one = Check(
        Comparer(TABLE, reader, anything, INDEX),
        mender,
        nothing,
        Journal(job, store, lambda: 5, every_s=0),
        stop,
        1,
        lambda count, *, earlier=False: None,
    )
    return one.run(), one


def kill(sides: Sides, saves: int, **options: Any) -> None:
    sides.saves = saves
    with pytest.raises(KeyboardInterrupt):
        run(sides, **options)
    sides.saves = 10**9


@pytest.mark.parametrize("saves", [1, 2, 17, 48, 49, 60, 64])
def test_killed_at_any_step_the_next_check_reads_only_the_rest(saves: int) -> None:
    sides = Sides()
    kill(sides, saves)
    done = sides.progress.checked
    before = len(sides.scanned), len(sides.asked)
    left, one = run(sides)
    assert left == 0
    again = len(sides.scanned) - before[0], len(sides.asked) - before[1]
    assert again[0] == ITEMS - done
    assert {one.journal.count(name) for name in ("items", "documents")} == {ITEMS}
    assert set(sides.scanned) == {f"{n:03}" for n in range(ITEMS)}
    # What the killed run had seen to agree is not known any more: the keys of the rest are read.
    assert before[1] == 0
    assert again[1] == len(set(sides.asked))
    assert again[1] == ITEMS or done == ITEMS
    # All that was read twice is one step, the one that the kill came in.
    assert len(sides.scanned) - ITEMS <= PAGE


def test_a_check_that_is_told_to_stop_goes_on_where_it_was() -> None:
    sides, stop = Sides(), Hasty()
    scan = sides.scan

    def stop_after_a_while(**request: Any) -> dict[str, Any]:
        if len(sides.scanned) > ITEMS // 2:
            stop.set()
        return scan(**request)

    vars(sides)["scan"] = stop_after_a_while
    with pytest.raises(InterruptedByUserError):
        run(sides, stop=stop)
    done, before = sides.progress.checked, len(sides.scanned)
    assert done > ITEMS // 3
    assert run(sides)[0] == 0
    assert len(sides.scanned) - before == ITEMS - done


@pytest.mark.parametrize("saves", [1, 5, 20, 48, 55, 60])
def test_what_differed_before_a_kill_is_found_after_it(saves: int) -> None:
    sides = Sides(absent={"003", "044", "299"})
    kill(sides, saves, refused=["044"])
    left, one = run(sides, refused=["044"])
    assert left == 1
    assert [(d.finding.place.id, d.why) for d in one.first] == [
        ("044", "parsing_exception: no number")
    ]
    assert sides.absent == {"044"}
    assert run(sides)[0] == 0  # it is taken now


def test_what_was_compared_under_another_stream_is_compared_again() -> None:
    sides = Sides()
    kill(sides, 30)
    before = len(sides.scanned)
    assert run(sides, label="second")[0] == 0
    assert len(sides.scanned) - before == ITEMS


@pytest.mark.parametrize("harm", [lambda text: text[:-20], lambda text: 5, lambda text: "[]"])
def test_a_checkpoint_that_is_half_written_or_edited_begins_anew(harm: Any) -> None:
    sides = Sides()
    kill(sides, 30)
    kept = sides.meta["sluice"]["rebuild"]
    kept["check"] = harm(kept["check"])
    assert sides.progress.checked == 0
    before = len(sides.scanned)
    assert run(sides)[0] == 0
    assert len(sides.scanned) - before == ITEMS


def test_more_differences_than_a_copy_leaves_end_it_and_the_next_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "MOST", 2)
    names = {"250", "251", "252"}
    sides = Sides(absent=set(names))
    with pytest.raises(TooManyDifferencesError):
        run(sides, refused=sorted(names))
    assert (sides.progress.check, sides.progress.phase) == ("", "copied")
    before = len(sides.scanned)
    assert run(sides)[0] == 0
    assert len(sides.scanned) - before == ITEMS


def test_a_check_of_a_rebuild_that_was_begun_anew_ends() -> None:
    sides = Sides()
    kill(sides, 10)
    other = Progress("created", began=BEGAN + 1)
    sides.meta = {"sluice": {"rebuild": asdict(other)}}
    with pytest.raises(MisuseError, match="somebody else"):
        run(sides)
    assert sides.progress == other
