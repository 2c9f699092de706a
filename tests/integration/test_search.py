"""`sluice search` on every engine: the pages together are the result, each document once."""

import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from console.errors import CursorError, MisuseError
from console.search import Page, search_page
from tests.services.engines import Engine
from worker.cluster import Cluster, connect, path
from worker.schema import ensure_index
from worker.tables import Table

COUNT = 137
WORDS = ["river", "lock", "wheel"]


@dataclass(frozen=True)
class Library:
    """An index of documents, many of which no score can tell apart."""

    url: str
    cluster: Cluster
    table: Table[Any]

    @property
    def alias(self) -> str:
        return self.table.alias

    def write(self, documents: dict[str, dict[str, Any]]) -> None:
        lines = [
            line
            for id_, document in documents.items()
            for line in ({"index": {"_id": id_}}, document)
        ]
        answer = self.cluster.request(
            "POST",
            path(self.table.write_alias, "_bulk"),
            params={"refresh": "true"},
            lines="".join(json.dumps(line) + "\n" for line in lines).encode(),
        )
        assert answer.body["errors"] is False, answer.body

    def walk(self, words: str, size: int) -> Iterator[Page]:
        after = None
        for _ in range(COUNT + 2):
            page = search_page(self.cluster, self.alias, words, size=size, after=after)
            yield page
            after = page.next
            if after is None:
                return
        raise AssertionError("the pages never end")

    def collect(self, words: str, size: int) -> list[str]:
        return [hit.id for page in self.walk(words, size) for hit in page.hits]


def make_document(number: int, text: str, state: str = "live") -> dict[str, Any]:
    name = f"{number * 7919 % 100_003:032x}"
    ours = {"state": state, "id": name, "digest": name, "key": str(number)}
    return {
        "title": WORDS[number % 3],
        "text": text,
        "notes": [{"by": "fatima" if number % 10 == 0 else "ann"}],
        "_sluice": ours,
    }


@contextmanager
def open_library(url: str, name: str) -> Iterator[Library]:
    table = Table(
        name,
        mappings={
            "title": {"type": "text"},
            "text": {"type": "text"},
            "notes": {"type": "nested", "properties": {"by": {"type": "text"}}},
        },
    )
    cluster = connect(url)
    index = ensure_index(cluster, table)
    made = Library(url, cluster, table)
    made.write({f"d{n}": make_document(n, text_of(n)) for n in range(COUNT)})
    made.write({"gone": {"_sluice": {"state": "deleted", "digest": None, "key": "gone"}}})
    made.write({"draft": make_document(999, "river", state="hidden")})
    yield made
    cluster.request("DELETE", path(index))
    cluster.close()


@pytest.fixture(scope="module")
def library(search_engine: Engine) -> Iterator[Library]:
    """One index for each engine, for tests that only read."""
    with open_library(search_engine.url, f"test-{uuid.uuid4().hex[:12]}") as made:
        yield made


def text_of(number: int) -> str:
    return " ".join(["the", *random.Random(number).choices(WORDS, k=number % 7)])


def matches(words: Sequence[str]) -> set[str]:
    return {
        f"d{n}"
        for n in range(COUNT)
        if all(word in [WORDS[n % 3], *text_of(n).split()] for word in words)
    }


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 50, COUNT - 1, COUNT, COUNT + 1, 1000])
def test_no_page_is_short_and_no_document_is_missed_or_repeated(
    library: Library, size: int
) -> None:
    pages = list(library.walk("the", size))
    assert all(len(page.hits) == size for page in pages[:-1]), "only the last page may be short"
    assert 1 <= len(pages[-1].hits) <= size
    found = [hit.id for page in pages for hit in page.hits]
    assert sorted(found) == sorted(f"d{n}" for n in range(COUNT))
    assert {page.total for page in pages} == {COUNT}


@pytest.mark.parametrize("words", ["river", "river lock", "lock wheel river", "the", ""])
def test_every_size_gives_the_same_order_best_first(library: Library, words: str) -> None:
    expected = library.collect(words, 1000)
    wanted = matches(words.split()) if words != "the" else {f"d{n}" for n in range(COUNT)}
    assert set(expected) == wanted
    for size in random.Random(words).sample(range(1, COUNT), 5):
        assert library.collect(words, size) == expected
    scores = [hit.score for page in library.walk(words, 1000) for hit in page.hits]
    assert scores == sorted(scores, reverse=True)


def test_quotes_minus_and_asterisk_do_what_the_help_says(library: Library) -> None:
    phrase = {f"d{n}" for n in range(COUNT) if "river lock" in text_of(n)}
    assert set(library.collect('"river lock"', 50)) == phrase
    assert set(library.collect("riv*", 50)) == matches(["river"])
    everything = {f"d{n}" for n in range(COUNT)}
    assert set(library.collect("the -river", 50)) == everything - matches(["river"])


def test_a_nested_field_is_searched_too(library: Library) -> None:
    assert set(library.collect("fatima", 5)) == {f"d{n}" for n in range(0, COUNT, 10)}


@pytest.mark.parametrize("words", ['"unbalanced', "(a | b", "\\", "-", "~2", "*", "AND OR", "\x00"])
def test_no_words_break_a_search(library: Library, words: str) -> None:
    assert search_page(library.cluster, library.alias, words).total >= 0


def test_documents_that_others_change_between_pages_do_not_move(
    search_engine: Engine, fresh_name: str
) -> None:
    """With Lucene's own score they do: it depends on every document of the index."""
    steady = {f"d{n}" for n in range(COUNT) if n % 4}
    with open_library(search_engine.url, fresh_name) as library:
        before = [id_ for id_ in library.collect("river", 1000) if id_ in steady]
        found: list[str] = []
        for round_, page in enumerate(library.walk("river", 5)):
            found += [hit.id for hit in page.hits]
            texts = {n: "the " + "river " * (n % 5) for n in range(0, COUNT, 4)}
            changed = {n: make_document(n + COUNT * (round_ + 1), t) for n, t in texts.items()}
            library.write({f"d{n}": document for n, document in changed.items()})
            library.write({f"new-{round_}": make_document(5000 + round_, "wheel river")})
    assert [id_ for id_ in found if id_ in steady] == before


def test_a_cursor_serves_its_own_search_alone(library: Library) -> None:
    page = search_page(library.cluster, library.alias, "river", size=3)
    assert page.next is not None
    with pytest.raises(CursorError):
        search_page(library.cluster, library.alias, "lock", size=3, after=page.next)
    other_size = search_page(library.cluster, library.alias, "river", size=4, after=page.next)
    assert not {hit.id for hit in other_size.hits} & {hit.id for hit in page.hits}


def test_an_alias_that_is_not_there_is_named(library: Library) -> None:
    with pytest.raises(MisuseError, match="no alias nowhere"):
        search_page(library.cluster, "nowhere", "river")


def run(library: Library, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLUICE_ELASTICSEARCH_URL": library.url}
    command = [sys.executable, "-m", "console", "search", library.alias, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_command_prints_pages_as_json_and_as_a_plain_table(library: Library) -> None:
    first = json.loads(run(library, "river", "--size", "3", "--json").stdout)
    assert [hit["id"] for hit in first["hits"]] == library.collect("river", 3)[:3]
    assert first["total"] == len(matches(["river"]))
    assert all("_sluice" not in hit["document"] for hit in first["hits"])
    second = run(library, "river", "--size", "3", "--after", first["next"])
    assert (second.returncode, second.stderr) == (0, "")
    assert all(id_ in second.stdout for id_ in library.collect("river", 3)[3:6])
    assert "\x1b" not in second.stdout, "no colours where there is no terminal"
    refused = run(library, "lock", "--after", first["next"])
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "another search" in refused.stderr
