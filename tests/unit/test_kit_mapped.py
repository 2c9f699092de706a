"""The index in memory refuses what a cluster would. tests/integration/test_refusals.py asks one."""

from typing import Any

import pytest

from kit.mapped import Mapped
from tests.refusals import CASES, ROOTS, Case, mapping
from worker.tables import Table, index_body


@pytest.fixture
def index() -> Mapped:
    return Mapped.of(index_body(Table("posts", mappings=mapping())))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_are_taken_or_refused(case: Case, index: Mapped) -> None:
    assert [value for value in case.taken if index.take({case.name: value})] == []
    assert [value for value in case.refused if not index.take({case.name: value})] == []


@pytest.mark.parametrize(("document", "refused"), ROOTS)
def test_names_are_taken_or_refused(document: dict[str, Any], refused: bool, index: Mapped) -> None:
    assert bool(index.take(document)) == refused


def test_a_refused_document_maps_nothing(index: Mapped) -> None:
    assert index.take({"fresh": 1, "long": "many"})
    assert index.take({"fresh": "text"}) is None


def test_the_reason_names_the_field_and_its_type(index: Mapped) -> None:
    error, reason = index.take({"object": [{"n": "many"}]}) or ("", "")
    assert error == "document_parsing_exception"
    assert "[object.n]" in reason
    assert "[long]" in reason


def test_an_undeclared_field_of_a_strict_mapping_has_its_own_error(index: Mapped) -> None:
    error, reason = index.take({"strict": {"other": 1}}) or ("", "")
    assert error == "strict_dynamic_mapping_exception"
    assert "[strict.other]" in reason


def test_sluices_own_object_is_no_news_to_a_strict_mapping() -> None:
    table = Table("posts", mappings={"dynamic": "strict", "properties": {"id": {"type": "long"}}})
    index = Mapped.of(index_body(table))
    assert index.take({"id": 1, "_sluice": {"state": "live"}}) is None
    assert index.take({"other": 1})
