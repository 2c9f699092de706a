"""Table declarations: what is legal, what an index is made with, when a living one disagrees."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from worker.errors import ConfigurationError
from worker.tables import Handler, Table, compare_mappings, index_body, load_tables


class Thing(BaseModel):
    id: str


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str


def test_a_name_alone_is_a_declaration() -> None:
    table = Table("posts")
    assert (table.alias, table.write_alias, table.index_name(3)) == (
        "posts",
        "posts-write",
        "posts-v3",
    )
    assert (table.model, table.document, table.routing, dict(table.mappings)) == (
        None,
        None,
        (),
        {},
    )


def test_the_alias_is_the_name_in_lower_case_unless_given() -> None:
    assert Table("prod-Card.v2").alias == "prod-card.v2"
    assert Table("prod-Card", alias="cards").alias == "cards"


@pytest.mark.parametrize("name", ["", "ab", "a" * 256, "a b", "a/b", "tablé", "a\n", None])
def test_a_name_that_dynamodb_would_not_take_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="no name of a DynamoDB table"):
        Table(name)


@pytest.mark.parametrize(
    ("alias", "reason"),
    [
        ("", "no text"),
        (7, "no text"),
        ("Posts", "not in lower case"),
        ("-posts", "starts with '-'"),
        ("_posts", "starts with '_'"),
        ("+posts", r"starts with '\+'"),
        (".", r"starts with '\.'"),
        ("..", r"starts with '\.'"),
        ("a*b", "holds"),
        ("a\\b", "holds"),
        ("a/b", "holds"),
        ("a b", "holds"),
        ("a:b", "holds"),
        ("a,b", "holds"),
        ("a#b", "holds"),
        ("a\nb", "holds"),
        ("é" * 111, "longer than 220 bytes"),
    ],
)
def test_an_alias_that_elasticsearch_would_not_take_is_refused(alias: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Table("posts", alias=alias)


@pytest.mark.parametrize("name", ["-posts", "_posts", "x" * 241])
def test_a_name_that_makes_no_alias_asks_for_one(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Table\(\.\.\., alias=\.\.\.\)"):
        Table(name)
    assert Table(name, alias="posts").alias == "posts"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": dict}, "no pydantic model"),
        ({"model": Thing(id="1")}, "no pydantic model"),
        ({"document": "text"}, "no function"),
        ({"routing": ""}, "names no attribute"),
        ({"routing": (1,)}, "names no attribute"),
        ({"routing": ("a", "b", "c")}, "one or both key attributes"),
        ({"routing": ("a", "a")}, "one or both key attributes"),
        ({"undeclared": "drop", "model": Thing}, "'keep' or 'refuse'"),
        ({"undeclared": "refuse"}, "needs a model"),
        ({"settings": ["a"]}, "settings is no mapping"),
        ({"settings": {"a": object()}}, "settings are no JSON"),
        ({"mappings": ["a"]}, "mappings is no mapping"),
        ({"mappings": {"a": object()}}, "mappings are no JSON"),
        ({"mappings": {"a": "keyword"}}, "no definition of a field: a"),
        ({"mappings": {"a": {"properties": {"b": 1}}}}, r"no definition of a field: a\.b"),
        ({"mappings": {"_sluice": {"type": "object"}}}, "_sluice, which is Sluice's own"),
        ({"mappings": {"properties": {"_sluice": {}}}}, "_sluice, which is Sluice's own"),
        ({"mappings": {"_meta": {"sluice": {}}}}, "_meta.sluice"),
        ({"mappings": {"_source": {"enabled": False}}}, "_source"),
        ({"mappings": {"enabled": False}}, "enabled: false"),
        ({"mappings": {"subobjects": False}}, "subobjects: false"),
        ({"mappings": {"dynamic": "strict", "a": {"type": "long"}}}, "under 'properties'"),
        ({"mappings": {"_routing": {"required": True}}}, r"require a routing.*routing=\.\.\."),
        ({"mappings": {"_routing": {"required": "true"}}}, "require a routing"),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Table("posts", **options)


@pytest.mark.parametrize(
    ("required", "routing"), [(True, ("id",)), (True, "id"), (False, ()), (False, ("id",))]
)
def test_a_mapping_may_require_the_routing_that_the_table_declares(
    required: bool, routing: str | tuple[str, ...]
) -> None:
    mappings = {"_routing": {"required": required}}
    assert Table("posts", mappings=mappings, routing=routing).mappings == mappings


def test_an_async_document_function_is_refused() -> None:
    async def document(item: dict[str, Any]) -> dict[str, Any]:
        return item

    with pytest.raises(ConfigurationError, match="not async"):
        Table("posts", document=document)  # type: ignore[arg-type]


def test_a_table_cannot_be_changed() -> None:
    mappings = {"a": {"type": "keyword"}}
    table = Table("posts", mappings=mappings)
    mappings["a"]["type"] = "long"
    assert table.mappings["properties"]["a"] == {"type": "keyword"}
    with pytest.raises(AttributeError):
        table.alias = "other"  # type: ignore[misc]


def test_routing_is_one_attribute_or_two() -> None:
    assert Table("posts", routing="tenant").routing == ("tenant",)
    assert Table("posts", routing=("tenant", "id")).routing == ("tenant", "id")


def test_a_model_that_forbids_undeclared_attributes_has_its_way() -> None:
    assert Table("posts", model=Thing).undeclared == "keep"
    assert Table("posts", model=Strict).undeclared == "refuse"
    assert Table("posts", model=Strict, undeclared="keep").undeclared == "keep"


# --- index bodies ------------------------------------------------------------------------------


def test_properties_alone_and_a_full_mapping_mean_the_same() -> None:
    fields = {"title": {"type": "text"}, "dynamic": {"type": "keyword"}}
    alone, full = Table("a-b", mappings=fields), Table("a-b", mappings={"properties": fields})
    assert index_body(alone) == index_body(full)


def test_numbers_share_one_type_and_text_is_never_taken_for_a_date() -> None:
    mappings = index_body(Table("posts"))["mappings"]
    assert mappings["date_detection"] is False
    assert [
        (rule["match_mapping_type"], rule["mapping"]["type"])
        for template in mappings["dynamic_templates"]
        for rule in template.values()
    ] == [("long", "double"), ("double", "double")]


def test_the_owner_outranks_our_defaults() -> None:
    table = Table(
        "posts",
        mappings={"date_detection": True, "dynamic_templates": [], "_meta": {"team": "a"}},
        settings={"index": {"mapping": {"depth": {"limit": 25}}}, "number_of_shards": 3},
    )
    body = index_body(table)
    assert body["mappings"]["date_detection"] is True
    assert body["mappings"]["dynamic_templates"] == []
    assert body["mappings"]["_meta"]["team"] == "a"
    assert body["settings"] == table.settings
    assert index_body(Table("posts"))["settings"] == {"index.mapping.depth.limit": 40}


def test_the_object_of_sluice_takes_no_dynamic_fields() -> None:
    ours = index_body(Table("posts", mappings={"dynamic": "strict"}))["mappings"]["properties"]
    assert ours["_sluice"]["dynamic"] is False
    assert set(ours["_sluice"]["properties"]) == {
        "id",
        "state",
        "label",
        "sequence",
        "time",
        "read",
        "key",
        "digest",
        "indexed",
    }


def test_a_body_may_be_changed_without_changing_the_next() -> None:
    table = Table("posts", mappings={"a": {"type": "text"}})
    body = index_body(table)
    body["mappings"]["properties"]["a"]["type"] = "x"
    body["mappings"]["properties"]["_sluice"]["properties"].clear()
    assert index_body(table) != body


# --- disagreements -----------------------------------------------------------------------------

DECLARED = {
    "title": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 100}}},
    "author": {"type": "object", "properties": {"name": {"type": "keyword"}}},
    "price": {"type": "double", "coerce": False, "index": True},
    "views": {"type": "long"},
}


def _table(**fields: Any) -> Table[dict[str, Any]]:
    return Table("posts", mappings=DECLARED | fields)


def _live() -> dict[str, Any]:
    """DECLARED as Elasticsearch 8.17 and 9.0 show it: without defaults, with text for false."""
    live: dict[str, Any] = copy.deepcopy(index_body(_table())["mappings"])
    del live["properties"]["author"]["type"]
    del live["properties"]["price"]["index"]
    live["properties"]["_sluice"]["dynamic"] = "false"
    return live


def test_an_index_agrees_with_the_declaration_it_was_made_from() -> None:
    assert compare_mappings(index_body(_table()), _live()) == []


def test_fields_that_dynamic_mapping_added_are_no_disagreement() -> None:
    live = _live()
    live["properties"]["later"] = {"type": "text"}
    live["properties"]["author"]["properties"]["age"] = {"type": "double"}
    live["properties"]["title"]["fields"]["more"] = {"type": "keyword"}
    assert compare_mappings(index_body(_table()), live) == []


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (
            {"views": {"type": "double"}},
            'properties.views.type: declared "double", the index was made with "long"',
        ),
        (
            {"new": {"type": "date"}},
            'properties.new: declared {"type": "date"}, the index was made with nothing',
        ),
    ],
)
def test_a_changed_declaration_is_named_field_by_field(now: dict[str, Any], expected: str) -> None:
    assert compare_mappings(index_body(_table(**now)), _live()) == [expected]


def test_a_field_that_is_no_longer_declared_is_named() -> None:
    fewer = Table("posts", mappings={k: v for k, v in DECLARED.items() if k != "views"})
    assert compare_mappings(index_body(fewer), _live()) == [
        'properties.views: declared nothing, the index was made with {"type": "long"}'
    ]


def _set(path: str, value: Any) -> Any:
    def edit(live: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for parent in parents:
            live = live[parent]
        if value is None:
            del live[last]
        else:
            live[last] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (_set("properties/views/type", "keyword"), "views.type: declared "),
        (_set("properties/views/coerce", False), "views.coerce: declared true"),
        (_set("properties/price/coerce", None), "price.coerce: declared false, the index has true"),
        (_set("properties/price/index", False), "price.index: declared true"),
        (_set("properties/title/fields/raw/ignore_above", 9), "title.raw.ignore_above: "),
        (_set("properties/title/fields/raw", None), "title.raw: declared "),
        (_set("properties/author/properties/name/type", "text"), "author.name.type: "),
        (_set("properties/views", None), 'views: declared {"type": "long"}, the index has nothing'),
        (_set("properties/_sluice/properties/sequence/type", "long"), "_sluice.sequence.type: "),
        (_set("properties/_sluice", None), "_sluice: declared "),
        (_set("date_detection", True), "date_detection: declared false, the index has true"),
        (_set("dynamic_templates", []), "dynamic_templates: declared "),
        (_set("dynamic", "strict"), 'dynamic: declared "true", the index has "strict"'),
        (_set("_meta", None), "it was not made by Sluice"),
        (_set("_meta/sluice/schema", 9), "_meta.sluice.schema: 4 expected, the index has 9"),
        (_set("_meta/sluice/table", "other"), "it belongs to the table 'other', not to 'posts'"),
        (_set("_meta/sluice/declared", "{"), "_meta.sluice.declared cannot be read"),
    ],
)
def test_an_index_changed_by_hand_is_named_field_by_field(edit: Any, expected: str) -> None:
    live = _live()
    edit(live)
    (problem,) = compare_mappings(index_body(_table()), live)
    assert problem.startswith(expected)


# --- loading -----------------------------------------------------------------------------------


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module that can be imported until the end of the test."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(f"from worker.tables import Table\n{text}\n")
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_tables_are_collected_from_all_modules_by_name(modules: Any) -> None:
    modules("one_tables", 'posts = Table("posts")\nnotes = Table("notes")')
    modules("other_tables", 'from one_tables import notes\ncards = Table("prod-Card")')
    tables = load_tables(" one_tables, other_tables ,")
    assert sorted(tables) == ["notes", "posts", "prod-Card"]
    assert tables["prod-Card"].alias == "prod-card"


@pytest.mark.parametrize("names", ["", " , "])
def test_no_module_at_all_is_an_error(names: str) -> None:
    with pytest.raises(ConfigurationError, match="SLUICE_TABLES names no module"):
        load_tables(names)


@pytest.mark.parametrize("name", ["absent_tables", "absent.tables", "examples.absent"])
def test_a_missing_module_is_named_with_a_hint(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no module .*absent.*PYTHONPATH"):
        load_tables(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import absent_dependency", "No module named 'absent_dependency'"),
        ('raise RuntimeError("no luck")', "RuntimeError: no luck"),
        ("a = = 1", "SyntaxError: invalid syntax"),
        ('posts = Table("p")', "no name of a DynamoDB table: 'p'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_is_told_in_its_own_words(modules: Any, text: str, reason: str) -> None:
    modules("failing_tables", text)
    with pytest.raises(ConfigurationError, match="failing_tables") as told:
        load_tables("failing_tables")
    assert reason in str(told.value)


def test_a_module_without_a_table_is_an_error(modules: Any) -> None:
    modules("empty_tables", "")
    with pytest.raises(ConfigurationError, match="empty_tables of SLUICE_TABLES declares no table"):
        load_tables("empty_tables")


def test_a_table_declared_twice_is_an_error(modules: Any) -> None:
    modules("one_tables", 'posts = Table("posts")')
    modules("other_tables", 'posts = Table("posts", alias="other")')
    with pytest.raises(ConfigurationError, match="posts is declared twice, again in other_tables"):
        load_tables("one_tables,other_tables")


@pytest.mark.parametrize(
    "text",
    [
        'a = Table("posts")\nb = Table("Posts")',
        'a = Table("posts")\nb = Table("other", alias="posts")',
        'a = Table("posts")\nb = Table("posts-write")',
        'a = Table("posts-v12")\nb = Table("posts")',
    ],
)
def test_tables_that_would_share_a_name_in_the_cluster_are_an_error(
    modules: Any, text: str
) -> None:
    modules("sharing_tables", text)
    with pytest.raises(ConfigurationError, match="would share the name"):
        load_tables("sharing_tables")


def test_tables_with_similar_names_stay_apart(modules: Any) -> None:
    modules("apart_tables", 'a = Table("posts")\nb = Table("posts-v2-old")\nc = Table("postsXv1")')
    assert len(load_tables("apart_tables")) == 3


@pytest.mark.parametrize("name", ["examples.posts.tables", "examples.plain.tables"])
def test_the_examples_load(name: str) -> None:
    assert len(load_tables(name)) == 1


def test_a_declaration_may_name_its_type() -> None:
    assert Table[dict[str, Any]]("posts").alias == "posts"
    assert Handler[dict[str, Any]]("ALL", print, name="show").kinds == {
        "INSERT",
        "MODIFY",
        "REMOVE",
    }
