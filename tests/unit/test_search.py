"""The parts of a search that need no cluster: fields, query, body, cursor, one-line preview."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.errors import CursorError, MisuseError
from console.search import (
    MOST,
    Fields,
    build_body,
    build_query,
    choose_alias,
    find_fields,
    preview,
    read_cursor,
    write_cursor,
)

MAPPING = {
    "properties": {
        "_sluice": {"properties": {"note": {"type": "text"}, "digest": {"type": "keyword"}}},
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "tag": {"type": "keyword"},
        "secret": {"type": "text", "index": False},
        "author": {"properties": {"name": {"type": "text"}}},
        "blocks": {
            "type": "nested",
            "properties": {
                "text": {"type": "text"},
                "notes": {"type": "nested", "properties": {"by": {"type": "text"}}},
            },
        },
        "kept": {"type": "object", "enabled": False},
    }
}


def test_the_fields_are_those_that_hold_text_without_ours() -> None:
    assert find_fields(MAPPING) == Fields(
        ("author.name", "title"),
        {"blocks.notes": ("blocks.notes.by",), "blocks": ("blocks.text",)},
    )


def test_an_empty_mapping_has_no_fields_and_its_search_finds_nothing() -> None:
    assert build_query("words", find_fields({})) == {"match_none": {}}


@pytest.mark.parametrize("words", ["", "  "])
def test_no_words_find_every_document(words: str) -> None:
    assert build_query(words, find_fields(MAPPING)) == {"match_all": {}}


def test_a_query_reaches_nested_fields_under_their_path() -> None:
    query = json.dumps(build_query("words", find_fields(MAPPING)))
    assert query.count('"path": "blocks.notes"') == 2
    assert query.count('"path": "blocks"') == 2


@given(st.text(), st.lists(st.text(min_size=1), max_size=4, unique=True))
def test_every_score_is_a_sum_of_whole_constants(words: str, names: list[str]) -> None:
    query = build_query(words, Fields(tuple(names), {}))
    if set(query) != {"bool"}:
        return
    assert set(query["bool"]) == {"filter", "should"}
    boosts = [part["constant_score"]["boost"] for part in query["bool"]["should"]]
    assert all(boost == int(boost) for boost in boosts)


@given(st.integers(1, MOST))
def test_a_page_asks_for_one_result_more_in_a_total_order(size: int) -> None:
    body = build_body({"match_all": {}}, size, None)
    assert body["size"] == size + 1
    assert [list(part) for part in body["sort"]] == [["_score"], ["_sluice.id"]]
    assert "search_after" not in body


@given(
    alias=st.text(st.characters(exclude_categories=["Cs"])),
    words=st.text(st.characters(exclude_categories=["Cs"])),
    score=st.floats(0, 1e9, width=32),
    key=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_cursor_gives_back_exactly_what_it_was_made_of(
    alias: str, words: str, score: float, key: str
) -> None:
    cursor = write_cursor(alias, words, [score, key])
    assert read_cursor(cursor, alias, words) == [score, key]
    assert cursor.isascii()
    assert not set(cursor) & set("+/= ")


@pytest.mark.parametrize(("alias", "words"), [("posts", "sun"), ("pages", "moon"), ("", "")])
def test_a_cursor_of_another_search_is_refused_and_names_it(alias: str, words: str) -> None:
    cursor = write_cursor("posts", "moon", [1.0, "k"])
    with pytest.raises(CursorError, match=r"another search: 'moon' in 'posts'"):
        read_cursor(cursor, alias, words)


def encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(st.text() | st.builds(encode, st.recursive(st.none() | st.text() | st.integers(), st.lists)))
@example("é")
@example(encode({"v": 2, "alias": "posts", "words": "moon", "sort": [1.0, "k"]}))
@example(encode({"v": 1, "alias": "posts", "words": "moon"}))
@example(encode({"v": 1, "alias": "posts", "words": "moon", "sort": [1.0]}))
@example(encode({"v": 1, "alias": "posts", "words": "moon", "sort": ["k", 1.0]}))
@example(encode({"v": 1, "alias": "posts", "words": "moon", "sort": [True, "k"]}))
def test_what_is_no_cursor_is_refused_as_misuse(text: str) -> None:
    with pytest.raises(MisuseError):
        read_cursor(text, "posts", "moon")


def test_a_declared_table_is_searched_by_its_alias_and_any_other_name_is_an_alias() -> None:
    assert choose_alias("posts", "examples.posts.tables") == "posts"
    assert choose_alias("elsewhere", "examples.posts.tables") == "elsewhere"
    assert choose_alias("posts", "") == "posts"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.integers(10, 200))
def test_a_preview_is_one_line_of_at_most_so_many_characters(
    document: dict[str, Any], most: int
) -> None:
    line = preview(document, most)
    assert len(line) <= most
    assert line.isprintable(), "nothing in a document may steer the reader's terminal"
