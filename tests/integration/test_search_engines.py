"""Every search engine does what the order guard, the write alias and the read alias rest on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3

from tests.services.engines import Engine

Json = dict[str, Any]
META = {"state": "live", "sequence": "0" * 40, "time": 1}
MAPPINGS = {
    "date_detection": False,
    # Without the second, a fraction becomes a 32-bit float, which refuses 1E+39 and more.
    "dynamic_templates": [
        {"whole": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
        {"fraction": {"match_mapping_type": "double", "mapping": {"type": "double"}}},
    ],
    "properties": {
        "_sluice": {
            "dynamic": "strict",
            "properties": {
                "state": {"type": "keyword"},
                "sequence": {"type": "keyword"},
                "time": {"type": "long"},
            },
        },
        "rank": {"type": "keyword"},
    },
}


@dataclass(frozen=True, slots=True)
class Index:
    """An index with a filtered read alias and a write alias, spoken to without any client."""

    url: str
    alias: str
    http: urllib3.PoolManager

    @property
    def write(self) -> str:
        """The alias that writers use."""
        return f"{self.alias}-write"

    def call(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        """Send one request; the answer's status and decoded body."""
        kind = "application/x-ndjson" if path.startswith("/_bulk") else "application/json"
        headers = {"Content-Type": kind}
        answer = self.http.request(method, self.url + path, body=body, headers=headers)
        return answer.status, json.loads(answer.data)

    def write_one(self, action: str, meta: Json, document: Json | str) -> Json:
        """Send a bulk of one operation to the write alias; the item's own result."""
        meta = {"_index": self.write, **meta}
        source = document if isinstance(document, str) else json.dumps(document)
        body = f"{json.dumps({action: meta})}\n{source}\n"
        status, answer = self.call("POST", "/_bulk?require_alias=true&refresh=true", body)
        assert status == 200
        result: Json = answer["items"][0][action]
        return result

    def search(self, query: Json) -> list[Json]:
        """The hits of a search through the read alias."""
        status, answer = self.call("POST", f"/{self.alias}/_search", json.dumps(query))
        assert status == 200, answer
        hits: list[Json] = answer["hits"]["hits"]
        return hits


@pytest.fixture
def index(search_engine: Engine, fresh_name: str) -> Iterator[Index]:
    """A fresh index on each engine."""
    with urllib3.PoolManager() as http:
        made = Index(search_engine.url, fresh_name, http)
        aliases = {
            made.alias: {"filter": {"term": {"_sluice.state": "live"}}},
            made.write: {"is_write_index": True},
        }
        settings = {"number_of_shards": 1, "number_of_replicas": 0}
        body = {"settings": settings, "mappings": MAPPINGS, "aliases": aliases}
        status, answer = made.call("PUT", f"/{fresh_name}-v1", json.dumps(body))
        assert status == 200, answer
        yield made
        made.call("DELETE", f"/{fresh_name}-v1")


def describe(result: Json) -> tuple[int, str | None]:
    """The status of an item and the type of its error, if any."""
    return result["status"], result.get("error", {}).get("type")


CONFLICT = (409, "version_conflict_engine_exception")


def test_a_second_create_is_a_conflict(index: Index) -> None:
    assert describe(index.write_one("create", {"_id": "a"}, {"_sluice": META})) == (201, None)
    assert describe(index.write_one("create", {"_id": "a"}, {"_sluice": META})) == CONFLICT


@pytest.mark.parametrize(("action", "wrap"), [("index", "{}"), ("update", '{{"doc": {}}}')])
def test_a_write_passes_only_with_the_sequence_number_that_was_read(
    index: Index, action: str, wrap: str
) -> None:
    read = index.write_one("create", {"_id": "a"}, {"_sluice": META})
    guard = {"_id": "a", "if_seq_no": read["_seq_no"], "if_primary_term": read["_primary_term"]}
    document = wrap.format(json.dumps({"rank": "new", "_sluice": META}))
    assert describe(index.write_one(action, guard, document)) == (200, None)
    assert describe(index.write_one(action, guard, document)) == CONFLICT


@pytest.mark.parametrize(
    ("action", "document", "expected"),
    [
        ("index", {"_sluice": META}, CONFLICT),
        ("update", {"doc": {"_sluice": META}}, (404, "document_missing_exception")),
    ],
)
def test_a_guarded_write_to_a_document_that_is_gone_is_refused(
    index: Index, action: str, document: Json, expected: tuple[int, str]
) -> None:
    guard = {"_id": "gone", "if_seq_no": 0, "if_primary_term": 1}
    assert describe(index.write_one(action, guard, document)) == expected


def test_an_update_that_changes_nothing_keeps_the_sequence_number(index: Index) -> None:
    read = index.write_one("create", {"_id": "a"}, {"_sluice": META})
    again = index.write_one("update", {"_id": "a"}, {"doc": {"_sluice": META}})
    assert (again["result"], again["_seq_no"]) == ("noop", read["_seq_no"])


def test_mget_reads_positions_and_nothing_of_the_user(index: Index) -> None:
    read = index.write_one("create", {"_id": "a"}, {"rank": "user's", "_sluice": META})
    path = f"/{index.write}/_mget?_source_includes=_sluice"
    status, answer = index.call("POST", path, json.dumps({"ids": ["a", "gone"]}))
    here, gone = answer["docs"]
    assert status == 200
    assert (here["found"], here["_source"]) == (True, {"_sluice": META})
    assert here["_seq_no"] == read["_seq_no"]
    assert gone["found"] is False


def test_mget_sees_a_write_before_any_refresh(index: Index) -> None:
    line = f'{{"create": {{"_index": "{index.write}", "_id": "a"}}}}\n{{"rank": "1"}}\n'
    index.call("POST", "/_bulk?require_alias=true", line)
    _, answer = index.call("POST", f"/{index.write}/_mget", '{"ids": ["a"]}')
    assert answer["docs"][0]["found"] is True


@pytest.mark.parametrize("action", ["create", "index", "update"])
@pytest.mark.parametrize("target", ["absent-write", "{alias}-v1"])
def test_a_write_goes_to_an_alias_or_nowhere(index: Index, action: str, target: str) -> None:
    meta = {"_id": "a", "_index": target.format(alias=index.alias)}
    document: Json = {"doc": {"rank": "1"}} if action == "update" else {"rank": "1"}
    result = index.write_one(action, meta, document)
    assert describe(result) == (404, "index_not_found_exception")


def test_the_read_alias_shows_live_documents_only(index: Index) -> None:
    for identity, state in [("a", "live"), ("b", "deleted"), ("c", "hidden"), ("d", "live")]:
        index.write_one("create", {"_id": identity}, {"_sluice": {**META, "state": state}})
    assert sorted(hit["_id"] for hit in index.search({})) == ["a", "d"]


def read_pages(index: Index, query: Json, sort: Sequence[Json]) -> list[list[str]]:
    """All pages of a search in steps of two, by `search_after`; at most ten."""
    pages: list[list[str]] = []
    request: Json = {"query": query, "size": 2, "sort": sort}
    for _ in range(10):
        hits = index.search(request)
        if not hits:
            break
        pages.append([hit["_id"] for hit in hits])
        request["search_after"] = hits[-1]["sort"]
    return pages


@pytest.mark.parametrize(
    "sort", [[{"rank": "asc"}], [{"_score": "desc"}, {"rank": "asc"}]], ids=["key", "score"]
)
def test_search_after_pages_are_full_and_repeat_nothing(index: Index, sort: list[Json]) -> None:
    for number in range(5):
        document = {"rank": f"{number}", "words": "the same words", "_sluice": META}
        index.write_one("create", {"_id": f"d{number}"}, document)
    # osmem reports a score in fewer digits than it compares, and loses or repeats pages of equal
    # scores; scores that are whole numbers it pages well.
    words = {"match": {"words": "words"}}
    query = {"constant_score": {"filter": words}} if "_score" in sort[0] else words
    assert read_pages(index, query, sort) == [["d0", "d1"], ["d2", "d3"], ["d4"]]


def test_the_source_keeps_every_digit(index: Index) -> None:
    numbers = "12345678901234567890123456789012345678, 1E+125, 0.1234567890123456789, 1.50, -0.0"
    result = index.write_one("create", {"_id": "a"}, f'{{"n": [{numbers}]}}')
    answer = index.http.request("GET", f"{index.url}/{index.write}/_source/a")
    assert result["status"] == 201
    assert answer.data.decode().replace(" ", "") == f'{{"n":[{numbers}]}}'.replace(" ", "")


def test_whole_numbers_become_doubles_and_dates_stay_text(index: Index) -> None:
    document = '{"n": 12345678901234567890123456789012345678, "day": "2024-01-01"}'
    index.write_one("create", {"_id": "a"}, document)
    assert index.write_one("create", {"_id": "b"}, {"n": 1.5})["status"] == 201
    assert index.write_one("create", {"_id": "c"}, {"day": "no date"})["status"] == 201
    _, answer = index.call("GET", f"/{index.write}/_mapping")
    properties = answer[f"{index.alias}-v1"]["mappings"]["properties"]
    assert (properties["n"]["type"], properties["day"]["type"]) == ("double", "text")


def test_a_document_that_does_not_fit_is_refused_alone(index: Index) -> None:
    index.write_one("create", {"_id": "a"}, {"n": 1})
    lines = [{"create": {"_index": index.write, "_id": "b"}}, {"n": "no number"}]
    lines += [{"create": {"_index": index.write, "_id": "c"}}, {"n": 2}]
    body = "\n".join(map(json.dumps, lines)) + "\n"
    _, answer = index.call("POST", "/_bulk?require_alias=true", body)
    refused, taken = (item["create"] for item in answer["items"])
    # Elasticsearch says document_parsing_exception, osmem mapper_parsing_exception.
    assert refused["status"] == 400
    assert refused["error"]["type"].endswith("_parsing_exception")
    assert taken["status"] == 201


def test_an_id_of_more_than_512_bytes_refuses_the_whole_bulk(index: Index) -> None:
    lines: list[Json] = [{"create": {"_index": index.write, "_id": "x" * 513}}, {}]
    lines += [{"create": {"_index": index.write, "_id": "fits"}}, {}]
    body = "\n".join(map(json.dumps, lines)) + "\n"
    status, answer = index.call("POST", "/_bulk?require_alias=true", body)
    assert (status, answer["error"]["type"]) == (400, "action_request_validation_exception")
