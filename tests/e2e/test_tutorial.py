"""The tutorial, from its text: what it says to write, to run and to see."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.pages import DOCS, read_blocks
from tests.polling import wait_for

PAGE = DOCS / "tutorial.md"
PYTHON = [block.text for block in read_blocks(PAGE, "python")]
COMMANDS = [line for block in read_blocks(PAGE, "sh") for line in block.text.splitlines()]
WRITES, DELETES, MENDS = [text for text in PYTHON if not text.startswith("# ")]
SLUICE = str(Path(sys.executable).with_name("sluice"))


def run(
    line: str, folder: Path, environment: dict[str, str], *more: str
) -> "subprocess.CompletedProcess[str]":
    """Run a line of the page in that folder."""
    assert line in COMMANDS, f"the tutorial no longer says: {line}"
    return subprocess.run(
        [SLUICE, *line.split()[1:], *more],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def running(line: str, folder: Path) -> Iterator[dict[str, str]]:
    """`sluice up` as the page has it; the environment that it prints."""
    assert line in COMMANDS, f"the tutorial no longer says: {line}"
    output = folder / "up.txt"
    # A job in the background of a shell ignores Ctrl-C and hands that down: heed it again.
    with output.open("wb") as target:
        up = subprocess.Popen(
            [SLUICE, *line.split()[1:]],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=target,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads here yet
        )
    try:
        wait_for("`sluice up`", lambda: _has_said(up, output, "Ctrl-C ends it"), seconds=120)
        exports = re.findall(r"^export (\w+)=(.*)$", output.read_text(), re.MULTILINE)
        yield {**os.environ, **dict(exports)}
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0, output.read_text()
    finally:
        up.kill()
        up.wait()


def _has_said(process: "subprocess.Popen[bytes]", output: Path, text: str) -> bool:
    shown = output.read_text()
    assert process.poll() is None, shown
    return text in shown


def test_the_tutorial_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tables,) = [text for text in PYTHON if text.startswith("# tables.py")]
    (tmp_path / "tables.py").write_text(tables)
    checked = run("sluice check tables --embedded --offline", tmp_path, dict(os.environ))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with running("sluice up --tables tables --key sku", tmp_path) as environment:
        for name in environment.keys() - os.environ.keys():
            monkeypatch.setenv(name, environment[name])
        names: dict[str, Any] = {}

        def found() -> list[str]:
            answer = run("sluice search products lamp", tmp_path, environment, "--json")
            hits = json.loads(answer.stdout)["hits"] if answer.returncode == 0 else []
            return sorted(hit["document"]["name"] for hit in hits)

        def finds(*wanted: str) -> Callable[[], bool]:
            return lambda: found() == list(wanted)

        exec(WRITES, names)  # noqa: S102 - the page is ours
        wait_for("two lamps", finds("Brass lamp", "Copper lamp"))
        shown = run("sluice show products l-2", tmp_path, environment)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        exec(DELETES, names)  # noqa: S102
        wait_for("one lamp", finds("Brass lamp"))

        assert run("sluice status", tmp_path, environment).returncode == 1
        letters = run("sluice dead-letters list", tmp_path, environment).stdout
        assert "l-3" in letters
        assert "price" in letters
        traced = run("sluice trace products l-3", tmp_path, environment)
        assert traced.returncode == 1, "the item is in the table, and not in the index"
        assert "price" in traced.stdout

        exec(MENDS, names)  # noqa: S102
        wait_for("the mended lamp", finds("Brass lamp", "Paper lamp"))
        assert run("sluice dead-letters purge --yes", tmp_path, environment).returncode == 0
        verified = run("sluice verify products --settle 1", tmp_path, environment)
        assert verified.returncode == 0, verified.stdout + verified.stderr
