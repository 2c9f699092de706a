"""What the audit makes of pip-audit's answers, and of none."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import audit

SAFE = {"name": "click", "version": "8.1.0", "vulns": []}
FLAWED = {
    "name": "urllib3",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0", "2.1"]}, {"id": "GHSA-2"}],
}
UNKNOWN = {"name": "vine", "skip_reason": "not found"}


def report(*packages: dict[str, Any]) -> audit.Report:
    found = audit.read_report(json.dumps({"dependencies": packages, "fixes": []}))
    assert found is not None
    return found


def test_a_known_vulnerability_fails_and_is_named_with_what_mends_it() -> None:
    code, text = audit.judge(report(SAFE, FLAWED, UNKNOWN))
    assert code == 1
    assert "urllib3 1.0: PYSEC-1, mended in 2.0, 2.1" in text
    assert "urllib3 1.0: GHSA-2, mended in no version" in text


def test_no_vulnerability_is_fine_and_what_was_not_looked_at_is_told() -> None:
    assert audit.judge(report(SAFE)) == (0, "audit: no known vulnerability in 1 packages")
    code, text = audit.judge(report(SAFE, UNKNOWN))
    assert (code, "1 packages are not known there" in text) == (0, True)


@pytest.mark.parametrize("text", ["", "ERROR: no connection", "[]", '{"dependencies": [1]}'])
def test_anything_else_is_no_answer(text: str) -> None:
    assert audit.read_report(text) is None


def test_where_nothing_can_be_installed_it_is_skipped_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(audit, "PLACE", tmp_path / "place")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    assert audit.main() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("audit skipped: pip-audit cannot be installed")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            '{"dependencies": [{"name": "a", "skip_reason": "not found"}]}',
            "audit skipped: no service",
        ),
        ("no JSON", "audit skipped: no service"),
        (json.dumps({"dependencies": [SAFE]}), "audit: no known vulnerability in 1 packages"),
        (json.dumps({"dependencies": [FLAWED]}), "known vulnerabilities:"),
    ],
)
def test_a_service_that_knows_nothing_of_ours_is_none(
    answer: str,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o700)
    monkeypatch.setattr(audit, "prepare", lambda place: program)
    assert audit.main() == (1 if line.startswith("known") else 0)
    assert capsys.readouterr().out.startswith(line)


def test_the_sample_is_one_package_with_its_hashes() -> None:
    first = "a==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"
    text = f"# made by\n{first}    # via b\nb==2 \\\n    --hash=sha256:3\n"
    assert audit.first_requirement(text) == first
    whole = audit.AUDITED.read_text()
    assert audit.first_requirement(whole).count("==") == 1
    assert "--hash=" in audit.first_requirement(whole)
