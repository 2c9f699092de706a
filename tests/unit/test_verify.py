"""What counts as a difference, what a sample allows, and how ranges and files cover everything."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.errors import MisuseError
from console.repair import ripe_ms
from console.verify.agreement import Agreement, read_agreement
from console.verify.compare import compare, place_of, place_of_doc
from console.verify.documents import cut_between, cut_digests, walk_digests
from console.verify.draw import draw_docs
from console.verify.model import Doc, Finding, Place, read_findings, write_finding
from console.verify.sample import choose_segments, upper_bound
from console.verify.serving import judge_alias, write_remedy
from console.verify.spool import Spool
from tests.sides import select_digests
from worker.cluster import Answer
from worker.identity import key_text
from worker.order import Position, Statement, Stored, Verdict, decide
from worker.schema import alias_body
from worker.tables import Table
from worker.values import digest

KEY = {"id": {"S": "a"}}
ITEM = {**KEY, "n": {"N": "1"}}
PLAIN: Table[Any] = Table("plain")
CHOOSY: Table[Any] = Table("choosy", document=lambda item: None if item["n"] == 1 else item)
STRICT: Table[Any] = Table("strict", document=lambda item: {"n": item["n"] // 0})


def doc(state: str | None = "live", **fields: Any) -> Doc:
    known: dict[str, Any] = {"digest": digest(ITEM), "key": key_text(KEY), **fields}
    return Doc(seq_no=3, primary_term=1, state=state, **known)


def kind(table: Table[Any], item: Any, found: Doc | None, **options: bool) -> str | None:
    finding = compare(table, place_of(table, KEY), item, found, **options)
    return finding.kind if finding else None


@pytest.mark.parametrize(
    ("table", "item", "found", "expected"),
    [
        (PLAIN, ITEM, doc(), None),
        (PLAIN, ITEM, None, "missing"),
        (PLAIN, ITEM, doc("deleted", digest=None), "missing"),
        (PLAIN, ITEM, doc(digest="0" * 32), "stale"),
        (PLAIN, ITEM, doc(None, digest=None, key=None), "stale"),
        (PLAIN, ITEM, doc(key="{}"), "stale"),
        (PLAIN, ITEM, doc("odd"), "stale"),
        (PLAIN, ITEM, doc("hidden"), "hidden"),
        (PLAIN, None, doc(), "left over"),
        (PLAIN, None, doc("hidden"), "left over"),
        (PLAIN, None, doc("deleted"), None),
        (PLAIN, None, None, None),
        (CHOOSY, ITEM, doc("hidden"), None),
        (CHOOSY, ITEM, doc("live"), "shown"),
        (CHOOSY, ITEM, None, "missing"),
        (STRICT, ITEM, None, "missing"),
        (STRICT, ITEM, doc(), "stale"),
    ],
)
def test_each_state_of_item_and_document_has_its_kind(
    table: Table[Any], item: Any, found: Doc | None, expected: str | None
) -> None:
    assert kind(table, item, found) == expected


def test_an_item_that_is_refused_says_so() -> None:
    finding = compare(STRICT, place_of(STRICT, KEY), ITEM, None)
    assert finding is not None
    assert "ZeroDivisionError" in finding.why


def test_content_is_compared_only_when_asked_for() -> None:
    edited = doc(content={"id": "a", "n": 2})
    assert kind(PLAIN, ITEM, edited) is None
    assert kind(PLAIN, ITEM, edited, content=True) == "edited"
    assert kind(PLAIN, ITEM, doc(content={"n": 1, "id": "a"}), content=True) is None


def test_a_document_in_the_wrong_place_has_no_key() -> None:
    assert place_of_doc(PLAIN, "a", None, doc()).key == KEY
    for name, routing, found in (
        ("b", None, doc()),
        ("a", "x", doc()),
        ("a", None, doc(key=None)),
        ("a", None, doc(key="no json")),
        ("a", None, doc(key="[1]")),
        ("a", None, doc(key='{"id": 5}')),
    ):
        assert place_of_doc(PLAIN, name, routing, found).key is None


@given(
    st.integers(1, 500),
    st.text("0123456789abcdef", min_size=32, max_size=32) | st.text() | st.just("80000000"),
)
@example(3, "")
@example(3, "g")
@example(2, "80000000")
def test_ranges_of_digests_hold_each_digest_once_and_what_somebody_wrote_for_one(
    parts: int, mark: str
) -> None:
    assert (
        sum(
            (after is None or after < mark) and (until is None or mark <= until)
            for after, until in cut_digests(parts)
        )
        == 1
    )


class DigestCluster:
    """An index whose documents have these digests: the searches of a walk, and counts."""

    def __init__(self, digests: Sequence[str]) -> None:
        self.digests = sorted(digests)
        self.looked = 0
        """Documents in the ranges that were searched: what a search costs a cluster."""

    def request(self, method: str, path: str, *, body: dict[str, Any]) -> Answer:
        if path.endswith("_count"):
            return Answer(200, {"count": len(self.digests)})
        found = select_digests({**body, "size": len(self.digests)}, self.digests)
        self.looked += len(found)
        return Answer(200, {"hits": {"hits": [self.hit(mark) for mark in found[: body["size"]]]}})

    def hit(self, mark: str) -> dict[str, Any]:
        return {"_id": mark, "_seq_no": 1, "_primary_term": 1, "_source": {}, "sort": [mark]}


def make_digests(count: int) -> list[str]:
    return [digest({"id": {"S": str(n)}}) for n in range(count)]


@given(
    st.integers(1, 40),
    st.none() | st.text("0123456789abcdef", min_size=8, max_size=32),
    st.none() | st.text("0123456789abcdef", min_size=8, max_size=32),
    st.text("0123456789abcdef", min_size=8, max_size=32) | st.text(),
)
def test_pieces_of_a_range_hold_each_of_its_digests_once_and_no_other(
    pieces: int, after: str | None, until: str | None, mark: str
) -> None:
    if after is not None and until is not None and until <= after:
        return
    ends = cut_between(after, until, pieces)
    assert ends[-1] == until
    ranges = zip([after, *ends], ends, strict=False)
    within = (after is None or after < mark) and (until is None or mark <= until)
    assert sum(
        (low is None or low < mark) and (high is None or mark <= high) for low, high in ranges
    ) == int(within)


def test_a_walk_by_pieces_looks_at_each_document_a_few_times_however_many_there_are() -> None:
    cluster: Any = DigestCluster(make_digests(4_000))
    after = None
    for until in cut_between(None, None, 40):
        list(walk_digests(cluster, "posts-v1", after, until, 100))
        after = until
    assert cluster.looked < 4 * 4_000


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_a_walk_of_all_ranges_meets_each_document_once_whatever_its_digest_is(parts: int) -> None:
    digests = [*make_digests(700), "", "g", "zz\U0001f600", "80000000"]
    cluster: Any = DigestCluster(digests)
    met = [
        name
        for after, until in cut_digests(parts)
        for docs, _ in walk_digests(cluster, "posts-v1", after, until, 50)
        for name, _, _ in docs
    ]
    assert sorted(met) == sorted(digests)


@pytest.mark.parametrize(
    ("there", "wanted", "least"), [(650, 3_000, 650), (650, 650, 650), (650, 600, 450), (9, 1, 1)]
)
@pytest.mark.parametrize("seed", range(5))
def test_a_sample_meets_no_document_twice(there: int, wanted: int, least: int, seed: int) -> None:
    cluster: Any = DigestCluster(make_digests(there))
    drawn = [
        name
        for docs in draw_docs(cluster, "posts-v1", wanted, random.Random(seed))
        for name, _, _ in docs
    ]
    assert len(drawn) == len(set(drawn))
    assert least <= len(drawn) <= there


def test_the_alias_of_readers_must_lead_to_the_index_and_hide_what_is_deleted() -> None:
    assert judge_alias(PLAIN, "plain-v1", {"plain": alias_body()}) == ""
    assert "does not lead" in judge_alias(PLAIN, "plain-v1", {"plain-write": {}})
    assert "has not the filter" in judge_alias(PLAIN, "plain-v1", {"plain": {}})
    other: dict[str, Any] = {"filter": {"match_all": {}}}
    assert "has not the filter" in judge_alias(PLAIN, "plain-v1", {"plain": other})
    method, _, body = write_remedy(PLAIN, "plain-v1").partition(" /_aliases ")
    add = {"index": "plain-v1", "alias": "plain", **alias_body()}
    assert (method, json.loads(body)) == ("POST", {"actions": [{"add": add}]})


@given(st.integers(1, 2_000))
def test_with_nothing_wrong_the_bound_is_close_to_three_in_n(checked: int) -> None:
    bound = upper_bound(checked, 0)
    assert bound == pytest.approx(1 - 0.05 ** (1 / checked), rel=1e-6)
    assert bound <= 3 / checked


@given(st.integers(1, 500), st.data())
def test_the_bound_lies_above_what_was_seen_and_grows_with_it(
    checked: int, data: st.DataObject
) -> None:
    wrong = data.draw(st.integers(0, checked - 1))
    assert wrong / checked < upper_bound(checked, wrong) <= upper_bound(checked, wrong + 1) <= 1


def test_a_known_bound() -> None:
    assert upper_bound(100, 3) == pytest.approx(0.0757, abs=0.0001)  # Clopper-Pearson tables


@given(st.integers(0, 10**10), st.integers(1, 10**6))
def test_a_sample_cuts_the_table_into_a_legal_number_of_segments(items: int, wanted: int) -> None:
    assert 1 <= choose_segments(items, wanted) <= 1_000_000


MARGIN = 60_000
TIMES = st.integers(0, 10**13)


@given(st.none() | TIMES, st.none() | TIMES)
def test_a_read_at_the_ripe_moment_is_applied_and_not_one_before(
    time: int | None, read: int | None
) -> None:
    stored = Stored(Position.of("l", "1") if time is not None else None, time, read)
    ripe = ripe_ms(doc(time=time, read=read), MARGIN)
    assert decide(stored, Statement(None, ripe), MARGIN) is Verdict.APPLY
    if ripe:
        assert decide(stored, Statement(None, ripe - 1), MARGIN) is Verdict.OBSOLETE


def test_findings_on_disk_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "found"
    one = Finding("missing", Place("a", None, KEY), "d", None)
    two = Finding("left over", Place("b", "r", None), None, 7, "why")
    spool = Spool("posts", path)
    spool.add([one])
    with path.open("a") as file:
        file.write(write_finding("posts", two)[:20])
    spool.release()
    again = Spool("posts", path)
    again.add([two])
    assert list(again.read()) == [one, two]
    again.close()
    assert not path.exists()


def test_a_file_of_keys_of_another_table_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    finding = Finding("stale", Place("a", None, KEY), "d", 1)
    path.write_text(write_finding("posts", finding) + "\n" + write_finding("others", finding))
    with pytest.raises(MisuseError, match=r"line 2: it is of the table 'others'"):
        list(read_findings(path, "posts"))


@pytest.mark.parametrize("agreed", [None, {}, [], {"label": "l"}, {"label": "l", "at": "x"}])
def test_a_note_that_is_none_is_no_agreement(agreed: Any) -> None:
    assert read_agreement({"_meta": {"sluice": {"agreed": agreed}}}) is None
    assert read_agreement(json.loads("{}")) is None


def test_a_note_is_read() -> None:
    mapping = {"_meta": {"sluice": {"agreed": {"label": "l", "at": 5}}}}
    assert read_agreement(mapping) == Agreement("l", 5)
