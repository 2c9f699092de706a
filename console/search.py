"""`sluice search`: full-text search over a table's documents, page by page.

Results are sorted by score, then by a value that no two live documents share, so the order is
total: each page starts exactly after the last result of the one before it (`search_after`), and the
pages together are the result, each document once.

The score is a count: of the text fields that hold every word by themselves, and of those that hold
the words as a phrase, which count more. It depends on the document and the words alone. Lucene's
usual score, BM25, depends on every other document as well, on deleted ones, and on the copy of the
shard that answers; under a stream of changes it moves documents across the page's edge that nobody
touched. (The embedded engine besides compares it with more digits than it shows.) With a count only
a document that itself changes between two pages can be missed or met twice.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from console.errors import CursorError, MisuseError
from console.help import write_epilog
from worker.mappings import META

if TYPE_CHECKING:
    from worker.cluster import Answer, Cluster

TIEBREAK: Final = f"{META}.id"
"""The document's id once more, for sorting: Elasticsearch refuses to sort by `_id` itself unless
told otherwise (indices.id_field_data.enabled)."""

PHRASE: Final = 4.0
"""What the words as a phrase count for. A whole number, so that sums of scores are exact."""

MOST: Final = 1_000
"""Most results of one page."""

_CURSOR_VERSION: Final = 1
_TEXT_TYPES: Final = frozenset({"text", "match_only_text"})


@dataclass(frozen=True, slots=True)
class Fields:
    """The text fields of a mapping: those of the document, and those of each nested path."""

    flat: tuple[str, ...]
    nested: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found, without the object that is Sluice's own."""

    id: str
    score: float
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of results."""

    alias: str
    words: str
    total: int
    """Documents that match, on all pages."""
    hits: tuple[Hit, ...]
    next: str | None
    """Cursor of the next page; None if this is the last."""


def find_fields(mapping: Mapping[str, Any]) -> Fields:
    """The fields that hold text, from a mapping as the cluster shows it. Ours are left out."""
    flat: list[str] = []
    nested: dict[str, list[str]] = {}
    for path, home in _walk(mapping, "", ""):
        if home:
            nested.setdefault(home, []).append(path)
        else:
            flat.append(path)
    return Fields(tuple(flat), {home: tuple(paths) for home, paths in nested.items()})


def _walk(mapping: Mapping[str, Any], prefix: str, home: str) -> Iterator[tuple[str, str]]:
    """Each text field, and the innermost nested path around it."""
    for name, field in sorted(mapping.get("properties", {}).items()):
        path = f"{prefix}{name}"
        if path == META:
            continue
        if field.get("type") in _TEXT_TYPES and field.get("index", True):
            yield path, home
        yield from _walk(field, f"{path}.", path if field.get("type") == "nested" else home)


def build_query(words: str, fields: Fields) -> dict[str, Any]:
    """The query: every word must be found, in whichever text field. No words: every document.

    Words may be quoted, excluded by a minus, or cut by an asterisk (simple_query_string).
    """
    if not words.strip():
        return {"match_all": {}}
    homes = {"": fields.flat, **fields.nested}
    found = [_within(home, _match(words, names)) for home, names in homes.items() if names]
    if not found:
        return {"match_none": {}}
    counted = [
        _count(_within(home, _match(words, [name])), 1.0)
        for home, names in homes.items()
        for name in names
    ]
    if len(words.split()) > 1:
        counted += [
            _count(_within(home, _match_phrase(words, names)), PHRASE)
            for home, names in homes.items()
            if names
        ]
    return {
        "bool": {
            "filter": [{"bool": {"should": found, "minimum_should_match": 1}}],
            "should": counted,
        }
    }


def _match(words: str, names: Sequence[str]) -> dict[str, Any]:
    return {
        "simple_query_string": {"query": words, "fields": list(names), "default_operator": "and"}
    }


def _match_phrase(words: str, names: Sequence[str]) -> dict[str, Any]:
    return {"multi_match": {"query": words, "fields": list(names), "type": "phrase"}}


def _within(home: str, query: dict[str, Any]) -> dict[str, Any]:
    return {"nested": {"path": home, "query": query}} if home else query


def _count(query: dict[str, Any], boost: float) -> dict[str, Any]:
    return {"constant_score": {"filter": query, "boost": boost}}


def build_body(query: Mapping[str, Any], size: int, after: Sequence[Any] | None) -> dict[str, Any]:
    """The search for one page, and one result more, which tells whether there is another page."""
    body: dict[str, Any] = {
        "query": query,
        "size": size + 1,
        "sort": [{"_score": "desc"}, {TIEBREAK: "asc"}],
        "track_total_hits": True,
    }
    if after is not None:
        body["search_after"] = list(after)
    return body


def write_cursor(alias: str, words: str, sort: Sequence[Any]) -> str:
    """An opaque text that names the search, and the last result that was shown."""
    fields = {"v": _CURSOR_VERSION, "alias": alias, "words": words, "sort": list(sort)}
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def read_cursor(cursor: str, alias: str, words: str) -> list[Any]:
    """Where to go on. Raises CursorError for what is no cursor, or one of another search."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        fields = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _no_cursor() from error
    if not isinstance(fields, dict) or fields.get("v") != _CURSOR_VERSION:
        raise _no_cursor()
    if (fields.get("alias"), fields.get("words")) != (alias, words):
        raise CursorError(
            f"the cursor belongs to another search: {fields.get('words')!r:.80} in"
            f" {fields.get('alias')!r:.80}",
            hint="repeat that search, or leave --after out",
        )
    sort = fields.get("sort")
    if not isinstance(sort, list) or len(sort) != 2 or not _is_place(*sort):
        raise _no_cursor()
    return sort


def _is_place(score: object, key: object) -> bool:
    number = isinstance(score, int | float) and not isinstance(score, bool)
    return number and isinstance(key, str)


def _no_cursor() -> CursorError:
    return CursorError(
        "--after takes the cursor of an earlier page, and this is none",
        hint="copy the line that the page before ended with, or leave --after out",
    )


def search_page(
    cluster: "Cluster", alias: str, words: str, *, size: int = 20, after: str | None = None
) -> Page:
    """One page of what matches, best first.

    Raises CursorError for a cursor that is not of this search; MisuseError if there is no such
    alias or the cluster cannot read the words; UnavailableError when it does not answer.
    """
    from worker.cluster import path

    place = read_cursor(after, alias, words) if after else None
    mapping = _check(cluster.request("GET", path(alias, "_mapping")), alias)
    fields = find_fields(_merge(index["mappings"] for index in mapping.values()))
    answer = cluster.request(
        "POST",
        path(alias, "_search"),
        body=build_body(build_query(words, fields), size, place),
    )
    hits = _check(answer, alias)["hits"]
    shown = hits["hits"][:size]
    more = len(hits["hits"]) > size
    return Page(
        alias=alias,
        words=words,
        total=int(hits["total"]["value"]),
        hits=tuple(_read_hit(hit) for hit in shown),
        next=write_cursor(alias, words, shown[-1]["sort"]) if more else None,
    )


def _merge(mappings: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mapping in mappings:
        merged.update(mapping.get("properties", {}))
    return {"properties": merged}


def _read_hit(hit: Mapping[str, Any]) -> Hit:
    document = {name: value for name, value in hit["_source"].items() if name != META}
    return Hit(hit["_id"], float(hit["_score"] or 0.0), document)


def _check(answer: "Answer", alias: str) -> dict[str, Any]:
    if answer.status == 200:
        body: dict[str, Any] = answer.body
        return body
    if answer.status == 404:
        raise MisuseError(
            f"the cluster has no alias {alias}",
            hint="the worker makes a table's alias when it starts",
        )
    raise MisuseError(f"the cluster refuses the search: {answer.error} {answer.reason:.300}")


def choose_alias(name: str, modules: str) -> str:
    """The read alias of a declared table; where no table has this name, the name itself."""
    if not modules:
        return name
    from worker.tables import load_tables

    table = load_tables(modules).get(name)
    return table.alias if table else name


def preview(document: Mapping[str, Any], most: int = 100) -> str:
    """A document in one line: its texts at the top, the short ones first."""
    texts = sorted((v for v in document.values() if isinstance(v, str) and v), key=len)
    line = clean(" · ".join(texts[:6]) or json.dumps(document, ensure_ascii=False))
    return line if len(line) <= most else line[: most - 1] + "…"


def clean(text: str) -> str:
    """Text in one line, without what could move a terminal's cursor."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def print_page(page: Page) -> None:
    """A page for people, the cursor of the next one at its end."""
    from rich.table import Table as Grid

    from console.output import make_console

    console = make_console()
    if not page.hits:
        console.print("Nothing found." if page.total == 0 else "No more results.")
        return
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for heading in ("score", "id", "document"):
        grid.add_column(heading, no_wrap=heading != "document", overflow="fold")
    for hit in page.hits:
        grid.add_row(f"{hit.score:g}", clean(hit.id), preview(hit.document))
    console.print(grid)
    console.print(f"\n{len(page.hits)} of {page.total:,}", end="")
    console.print(". Next page: --after" if page.next else ".")
    if page.next:
        # In one piece, however narrow the terminal: it is there to be copied.
        click.echo(page.next)


def describe_page(page: Page) -> dict[str, Any]:
    """A page for programs."""
    return {
        "alias": page.alias,
        "words": page.words,
        "total": page.total,
        "hits": [{"id": h.id, "score": h.score, "document": h.document} for h in page.hits],
        "next": page.next,
    }


@click.command(
    epilog=write_epilog(
        "sluice search posts copper lamp",
        """sluice search posts '"copper lamp" -brass' --size 5 --json""",
        codes="0 fine, 1 the cluster does not answer, 2 misuse",
        more="Needs SLUICE_ELASTICSEARCH_URL.",
    )
)
@click.argument("table")
@click.argument("words", nargs=-1)
@click.option(
    "--size", type=click.IntRange(1, MOST), default=20, show_default=True, help="Results a page."
)
@click.option("--after", metavar="CURSOR", help="Go on after the page that ended with this cursor.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: total, hits, next.")
def command(table: str, words: tuple[str, ...], size: int, after: str | None, as_json: bool) -> int:
    """Search the documents of TABLE for WORDS.

    TABLE is a table declared in a module of SLUICE_TABLES, or an alias of the cluster. Every word
    must be found, in any text field; "quoted words" stand together, -word excludes, word* is a
    beginning. Without words, every document is found.
    """
    from console.settings import CLUSTER, read_part
    from worker.cluster import connect

    settings = read_part(os.environ, CLUSTER)
    alias = choose_alias(table, os.environ.get("SLUICE_TABLES", ""))
    cluster = connect(
        settings.elasticsearch_url,
        api_key=settings.elasticsearch_api_key,
        ca_certs=settings.elasticsearch_ca_certs or None,
        timeout_s=settings.elasticsearch_timeout_s,
    )
    try:
        page = search_page(cluster, alias, " ".join(words), size=size, after=after)
    finally:
        cluster.close()
    if as_json:
        click.echo(json.dumps(describe_page(page), ensure_ascii=False))
    else:
        print_page(page)
    return 0
