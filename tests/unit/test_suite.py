"""A missed deadline is tried again, once; a history that did not converge never is."""

from pathlib import Path

import pytest

from tests.suite import AT_MOST, may_be_tried_again, run_suite

FAILS_ONCE = """
from pathlib import Path

def test_fails_once():
    tried = Path("tried")
    again = tried.exists()
    tried.touch()
    assert again
"""
FAILS = "def test_fails():\n    assert False\n"
PASSES = "def test_passes():\n    pass\n"


@pytest.mark.parametrize(
    ("tests", "code"),
    [([PASSES], 0), ([FAILS_ONCE, PASSES], 0), ([FAILS], 1), ([FAILS] * (AT_MOST + 1), 1)],
    ids=["all pass", "one fails once", "one fails twice", "too many fail"],
)
def test_what_failed_runs_again_alone(
    tests: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for number, text in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(text)
    cache = tmp_path / ".pytest_cache/v/cache/lastfailed"
    assert run_suite(["-q", "--rootdir", str(tmp_path), str(tmp_path)], cache) == code


@pytest.mark.parametrize(
    ("failed", "again"),
    [
        (["tests/faults/test_state.py::test_it"], True),
        (["tests/convergence/test_convergence.py::test_it[1]"], False),
        (["tests/faults/test_state.py::test_it", "tests/chaos/test_chaos.py::test_it"], False),
        ([f"tests/e2e/test_{n}.py::test_it" for n in range(AT_MOST + 1)], False),
        ([], False),
    ],
)
def test_exactness_is_never_tried_twice(failed: list[str], again: bool) -> None:
    assert may_be_tried_again(failed) is again
