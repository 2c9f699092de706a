"""`bench/run.py` from its command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.run import CONTENTS, DEFAULT, GROUPS, MARKS, PAGE, write_page

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "bench/run.py", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_group_without_services_runs_and_writes_its_rows(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    done = run("--tiny", "--only", "producer", "--output", str(output))
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    assert results["mode"] == "tiny"
    assert results["failed"] == results["skipped"] == []
    rows = {row["name"]: row for row in results["rows"]}
    assert set(rows) == {
        "producer 1.1 KB",
        "wire 1.1 KB",
        "producer 10 KB",
        "wire 10 KB",
        "chunking",
        "cold import",
    }
    assert all(row["reference"] > 0 and row["reached"] is not None for row in rows.values())
    assert all(
        f"| {row['figure']:,.0f} " in done.stdout for row in rows.values() if row["figure"] > 100
    )


def test_a_group_that_nobody_knows_is_a_misuse() -> None:
    done = run("--only", "producers")
    assert done.returncode == 2
    assert "no group is named producers" in done.stderr


def test_the_help_names_each_group_and_those_that_run_by_name_alone() -> None:
    assert set(CONTENTS) == set(GROUPS)
    text = run("--help").stdout
    for name, what in CONTENTS.items():
        line = next(one for one in text.splitlines() if one.split()[:1] == [name])
        assert what in line
        assert ("only by name" in line) is (name not in DEFAULT)


def test_the_page_takes_a_table_between_its_marks_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    write_page(page, "a machine", "| a table |")
    before, rest = PAGE.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    assert page.read_text() == (f"{before}{MARKS[0]}\na machine\n\n| a table |\n{MARKS[1]}{after}")


@pytest.mark.parametrize("name", ["choices", "memory", "peer"])
def test_what_takes_long_or_needs_more_runs_by_name_alone(name: str) -> None:
    assert name in GROUPS
    assert name not in DEFAULT
