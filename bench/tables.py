"""The tables of the benchmarks, as their owner would declare them: no model, texts mapped."""

import os
from typing import Any, Final

from bench.corpus import TABLE
from worker.tables import Table

PROPERTIES: Final = {
    "author": {"type": "keyword"},
    "n": {"type": "long"},
    "score": {"type": "double"},
    "public": {"type": "boolean"},
    "tags": {"type": "keyword"},
    "title": {"type": "text"},
    "blocks": {"properties": {"kind": {"type": "keyword"}, "text": {"type": "text"}}},
}
_TYPED: Final = {
    "type": "text",
    "index_prefixes": {"min_chars": 1, "max_chars": 10},
    "index_phrases": True,
    "term_vector": "with_positions_offsets",
}
DEAR: Final = {
    **PROPERTIES,
    "title": _TYPED,
    "blocks": {"properties": {"kind": {"type": "keyword"}, "text": _TYPED}},
}


def name_table(number: int) -> str:
    """The name of the first table, or of one of those that grow."""
    return f"{TABLE}-{number}" if number else TABLE


SETTINGS: Final = {"index.refresh_interval": "1s"}
"""Elasticsearch's default, said aloud: left unsaid, an index that nobody searches is refreshed no
more (index.search.idle.after), and no owner has an index that nobody searches."""

posts: Table[Any] = Table(TABLE, mappings=PROPERTIES, settings=SETTINGS)

dear: Table[Any] = Table(f"{TABLE}-dear", mappings=DEAR, settings=SETTINGS)
"""The same posts to be found while one types: each costs the cluster several times as much. So a
spike can be more than the cluster takes, and yet no more than the bench can make beside it."""

# BENCH_TABLES, for the rows of growth: so many tables in all.
for _number in range(1, int(os.environ.get("BENCH_TABLES", "1"))):
    globals()[f"posts_{_number}"] = Table(
        name_table(_number), mappings=PROPERTIES, settings=SETTINGS
    )
