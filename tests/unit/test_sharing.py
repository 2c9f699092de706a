"""A file's tests on one engine stay together, and its engines may run side by side."""

from pathlib import Path

import pytest

from tests.sharing import LONGEST, rank, scope_of

FILE = "tests/integration/test_search.py"


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        (f"{FILE}::test_it", FILE),
        (f"{FILE}::test_it[a case]", FILE),
        (f"{FILE}::test_it[embedded]", f"{FILE}[embedded]"),
        (f"{FILE}::test_it[elasticsearch-9]", f"{FILE}[elasticsearch-9]"),
        (f"{FILE}::test_it[elasticsearch-8-a case]", f"{FILE}[elasticsearch-8]"),
        (f"{FILE}::test_it[a case-embedded]", f"{FILE}[embedded]"),
        (f"{FILE}::test_it[clusters]", FILE),
    ],
)
def test_a_scope_is_a_file_and_the_engine_it_names(test: str, scope: str) -> None:
    assert scope_of(test) == scope


def test_the_longest_files_come_first_and_are_there() -> None:
    tests = Path(__file__).parents[1]
    assert [file for file in LONGEST if not (tests / file).is_file()] == []
    assert [rank(f"tests/{file}::test_it[embedded]") for file in LONGEST] == [*range(len(LONGEST))]
    assert rank(f"{FILE}::test_it") == len(LONGEST)
