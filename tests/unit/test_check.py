"""`sluice check` finds what would be refused, hidden or too large, and says where."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from console import cli
from console.check.engine import Tried
from console.check.items import read_items, sample_items
from console.check.judge import judge_handlers, judge_routing, judge_table
from console.check.modules import BrokenModuleError, find_tables
from console.check.report import Report, describe, write_lines
from console.check.trial import Refusal, group_refusals, shape_reason, try_items
from console.check.weigh import measure, weigh_messages
from console.errors import MisuseError
from console.scan import Page
from console.session import TableFacts
from producer.chunks import fit_limits
from producer.contract import Item
from worker.tables import Handler, Table, dump


class Post(BaseModel):
    """A post with one attribute that must be there."""

    id: str
    title: str


def show(post: Post) -> dict[str, Any] | None:
    return None if post.title == "secret" else {"title": post.title}


POSTS = Table("posts", model=Post, document=show)
PLAIN = Table("plain")
LIMITS = fit_limits("q", 262_144, 1_048_576)


def item(name: str, **attributes: str) -> Item:
    return {"id": {"S": name}, **{n: {"S": v} for n, v in attributes.items()}}


# ---------------------------------------------------------------- items


@pytest.mark.parametrize(
    "text",
    [
        '[{"id": {"S": "a"}, "n": {"N": "1.5"}}]',
        '{"Items": [{"id": {"S": "a"}, "n": {"N": "1.5"}}], "Count": 1}',
        '{"id": {"S": "a"}, "n": {"N": "1.5"}}',
        '\ufeff{"Item": {"id": {"S": "a"}, "n": {"N": "1.5"}}}\n\n',
        '[{"id": "a", "n": 1.5}]',
        '{"id": "a", "n": 1.50}\n',
    ],
)
def test_items_are_read_from_every_form(tmp_path: Path, text: str) -> None:
    file = tmp_path / "items"
    file.write_text(text, encoding="utf-8")
    assert read_items(file)[0] in (
        {"id": {"S": "a"}, "n": {"N": "1.5"}},
        {"id": {"S": "a"}, "n": {"N": "1.50"}},
    )


def test_lines_may_be_typed_and_plain_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "items"
    file.write_text('{"id": "a", "m": {"x": [1, true, null]}}\n{"id": {"S": "b"}}\n')
    assert read_items(file) == [
        {"id": {"S": "a"}, "m": {"M": {"x": {"L": [{"N": "1"}, {"BOOL": True}, {"NULL": True}]}}}},
        {"id": {"S": "b"}},
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"id": "a"}\n{"id": \n', "line 2: no JSON"),
        ("[1]", "item 1: no item but int"),
        ('[{"id": 1e999}]', "item 1"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_file_that_holds_no_items_is_refused_with_the_place(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "items"
    file.write_text(text)
    with pytest.raises(MisuseError, match=complaint):
        read_items(file)


class Segments:
    """A table in memory, its pages of two items."""

    def __init__(self, count: int) -> None:
        self.items = [item(f"{number}") for number in range(count)]

    def scan(
        self, segment: int, segments: int, after: Item | None, most: int | None = None
    ) -> Page:
        mine = self.items[segment::segments]
        start = mine.index(after) + 1 if after else 0
        page = mine[start : start + 2]
        more = start + 2 < len(mine)
        return Page(page, 0, page[-1] if more else None)


@pytest.mark.parametrize(("count", "wanted", "found"), [(0, 5, 0), (3, 5, 3), (1000, 50, 50)])
def test_a_sample_has_as_many_items_as_asked_for_or_all(
    count: int, wanted: int, found: int
) -> None:
    sample = sample_items(Segments(count), count, wanted, random.Random(1))
    assert len({one["id"]["S"] for one in sample}) == len(sample) == found


def test_a_sample_comes_from_all_over_the_table() -> None:
    sample = sample_items(Segments(10_000), 10_000, 200, random.Random(1))
    numbers = [int(one["id"]["S"]) for one in sample]
    assert min(numbers) < 2_000
    assert max(numbers) > 8_000


# ---------------------------------------------------------------- items become documents


def test_each_item_is_indexed_hidden_refused_or_a_repetition() -> None:
    trial = try_items(
        POSTS,
        [
            item("a", title="x"),
            item("b"),
            item("c", title="secret"),
            item("a", title="again"),
            {"title": {"S": "no key"}},
            item("k" * 600, title="x"),
        ],
        ["id"],
    )
    assert trial.writes[0].operation.target.id == "a"
    assert len(trial.writes) == len(trial.sizes) == 2
    assert trial.hidden == ['{"id":{"S":"c"}}']
    assert (trial.repeated, trial.hashed) == (1, 1)
    assert [(one.error, one.key) for one in trial.refusals] == [
        ("ValidationError", '{"id":{"S":"b"}}'),
        ("MalformedKey", "item 5"),
    ]
    assert trial.refusals[0].reason == "Post: title: Field required [missing]"


def test_an_attribute_that_is_reserved_is_a_refusal() -> None:
    trial = try_items(PLAIN, [{"id": {"S": "a"}, "_sluice": {"S": "x"}}], ["id"])
    assert [one.error for one in trial.refusals] == ["ReservedAttribute"]


class Block(BaseModel):
    text: str


class Article(BaseModel):
    id: str
    blocks: list[Block] = []
    by_name: dict[str, Block] = {}


def articles() -> list[Item]:
    block = {"M": {"text": {"S": "x"}, "lang": {"S": "en"}}}
    return [
        item("a"),
        item("b", extra="x"),
        {**item("c", mood="x"), "blocks": {"L": [block, block]}, "by_name": {"M": {"q": block}}},
    ]


def test_attributes_that_the_document_function_drops_unseen_are_told() -> None:
    table = Table("posts", model=Article, document=lambda article: article.model_dump())
    trial = try_items(table, articles(), ["id"])
    assert (trial.lossy, trial.lost) == (2, {"extra", "mood", "blocks.lang", "by_name.q.lang"})
    kept = Table("posts", model=Article, document=lambda article: {"in": [dump(article)]})
    assert try_items(kept, articles(), ["id"]).lossy == 0
    assert try_items(Table("posts", model=Article), articles(), ["id"]).lossy == 0


def test_the_report_names_what_was_dropped_and_is_fine_all_the_same() -> None:
    made = report(lossy=2, lost=("extra", "mood"))
    text = "\n".join(write_lines(made))
    assert "2 items have attributes that neither" in text
    assert "extra, mood" in text
    assert describe(made)["lost_attributes"] == {"items": 2, "names": ["extra", "mood"]}
    assert made.fine


def test_without_a_key_everything_but_ids_and_messages_is_tried() -> None:
    trial = try_items(PLAIN, [item("a"), item("a")], [])
    assert [write.operation.target.id for write in trial.writes] == ["0", "1"]
    assert trial.keyed == []


def test_refusals_are_grouped_by_reason_whatever_values_they_name() -> None:
    words = (
        "failed to parse field [n] of type [long] in document with id '{0}'."
        " Preview of field's value: '{0}'"
    )
    refusals = [Refusal("parsing", words.format(n), f"{n}") for n in ("a", "b")]
    refusals.append(Refusal("parsing", words.format("a").replace("[n]", "[m]"), "c"))
    groups = group_refusals(refusals)
    assert [(group.count, group.key) for group in groups] == [(2, "a"), (1, "c")]
    assert groups[0].reason == words.format("a")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[1:23] object mapping for [a]", "[4:5] object mapping for [a]"),
        ("failed to parse date field [x y] with", "failed to parse date field [z] with"),
        ("Post: blocks.3.text: missing", "Post: blocks.14.text: missing"),
    ],
)
def test_reasons_of_one_shape_are_one(one: str, other: str) -> None:
    assert shape_reason(one) == shape_reason(other)


# ---------------------------------------------------------------- sizes


def test_percentiles_are_values_that_were_there() -> None:
    sizes = measure(range(1, 101))
    assert sizes is not None
    assert (sizes.count, sizes.p50, sizes.p99, sizes.most) == (100, 50, 99, 100)
    assert measure([]) is None


def test_messages_are_weighed_as_they_would_be_sent() -> None:
    noise = random.Random(1).randbytes(390_000).hex()[:390_000]
    small = [({"id": {"S": f"{n}"}}, item(f"{n}", title="x")) for n in range(100)]
    large = [({"id": {"S": "l"}}, item("l", title=noise))]
    light = weigh_messages("posts", small, LIMITS, old_images=False)
    heavy = weigh_messages("posts", large, fit_limits("q", 65_536, 1_048_576), old_images=False)
    both = weigh_messages("posts", large, LIMITS, old_images=True)
    assert light is not None
    assert heavy is not None
    assert both is not None
    assert (light.changes, light.bytes.count, light.claim_checks) == (100, 1, 0)
    assert heavy.claim_checks == 1
    assert heavy.bytes.most < 2_000
    assert both.bytes.most <= 262_144
    assert weigh_messages("posts", [], LIMITS, old_images=False) is None


# ---------------------------------------------------------------- the table itself


def facts(**changes: Any) -> TableFacts:
    said: dict[str, Any] = {
        "arn": "",
        "id": "",
        "keys": ("owner", "id"),
        "items": 0,
        "created": None,
        "status": "ACTIVE",
        "stream_arn": None,
        "stream_on": True,
        "label": None,
        "view": "NEW_IMAGE",
    }
    return TableFacts(**(said | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"view": "NEW_AND_OLD_IMAGES"}, None),
        ({"stream_on": False, "view": None}, "is off"),
        ({"view": "KEYS_ONLY"}, "carries KEYS_ONLY"),
        ({"view": "OLD_IMAGE"}, "carries OLD_IMAGE"),
        ({"status": "DELETING"}, "is DELETING"),
    ],
)
def test_a_stream_that_cannot_be_followed_is_found(
    changes: dict[str, Any], words: str | None
) -> None:
    found = judge_table(PLAIN, facts(**changes))
    assert [one.level for one in found] == (["wrong"] if words else [])
    assert all(words in one.what for one in found if words)


def test_routing_that_the_key_does_not_have_is_found() -> None:
    table = Table("posts", routing="author")
    assert [one.level for one in judge_routing(table, ("id",))] == ["wrong"]
    assert judge_routing(table, ("author", "id")) == judge_routing(table, ()) == []


def test_handlers_that_workers_would_not_start_with_are_found() -> None:
    slow = Handler[dict[str, Any]]("ALL", print, time_limit_s=3000)
    table = Table("posts", handlers=[slow])
    (found,) = judge_handlers(table, 270)
    assert found.level == "wrong"
    assert "handlers of posts may take" in found.what
    assert "SLUICE_TASK_LIMIT_S" in found.what
    assert judge_handlers(table, 10_000) == judge_handlers(PLAIN, 1) == []


# ---------------------------------------------------------------- modules


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a module that can be imported for the time of the test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


HEAD = "from worker.tables import Table\n"


def test_a_name_means_a_declared_table_or_a_module(module: Callable[[str, str], None]) -> None:
    module("check_one", f'{HEAD}a = Table("aaa", alias="shown")\nb = Table("bbb")')
    assert [t.name for t in find_tables("bbb", "check_one")] == ["bbb"]
    assert [t.name for t in find_tables("shown", "check_one")] == ["aaa"]
    assert [t.name for t in find_tables("check_one", "")] == ["aaa", "bbb"]
    for wrong in ("ccc", "c-c.c"):
        with pytest.raises(MisuseError, match=wrong):
            find_tables(wrong, "check_one")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEAD}\n1 / 0", "check_bad.py, line 3: ZeroDivisionError"),
        (f'{HEAD}a = Table("x")', "check_bad.py, line 2: no name of a DynamoDB table"),
        ("import nonesuch", "check_bad.py, line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)", "check_bad.py, line 1: SystemExit"),
        ("x = (", "SyntaxError"),
    ],
)
def test_a_module_that_fails_is_found_with_its_line(
    module: Callable[[str, str], None], text: str, words: str
) -> None:
    module("check_bad", text)
    with pytest.raises(BrokenModuleError, match=words.replace("(", "\\(")):
        find_tables("check_bad", "")


# ---------------------------------------------------------------- the report, the command


def report(**changes: Any) -> Report:
    made: dict[str, Any] = {
        "table": "posts",
        "engine": "the embedded engine",
        "embedded": True,
        "source": "the table",
        "items": 3,
        "tried": Tried(indexed=3, added={"mood": "text"}),
        "groups": (),
        "hidden": (),
        "repeated": 0,
        "hashed": 0,
        "documents": None,
        "messages": None,
        "findings": (),
    }
    return Report(**(made | changes))


def test_the_report_says_which_engine_it_was_and_what_it_accepts() -> None:
    assert "accepts more than Elasticsearch" in "\n".join(write_lines(report()))
    other = report(embedded=False, engine="the cluster at search:9200")
    assert "accepts more" not in "\n".join(write_lines(other))
    assert describe(report())["engine"] == "embedded"


def test_a_refused_declaration_a_refused_item_or_a_wrong_table_is_not_fine() -> None:
    assert report().fine
    assert not report(tried=Tried(refused="no handler for type [x]")).fine
    assert not report(groups=tuple(group_refusals([Refusal("e", "r", "k")]))).fine
    assert not report(findings=tuple(judge_table(PLAIN, facts(stream_on=False)))).fine
    assert report(hidden=("k",)).fine


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--items", "5", "--offline"], "--offline"),
        (["--items", "5", "--file", __file__], "exclude each other"),
        (["--file", __file__, "--offline", "--embedded"], "no JSON"),
        (["--key", "a,b,c", "--offline"], "is no key"),
    ],
)
def test_a_wrong_call_ends_with_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", "examples.posts.tables", *arguments]) == 2
    assert complaint in capsys.readouterr().err
