"""A file of certificate authorities that cannot be used is a setting to correct, and said so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers import ROOT

COMMANDS = {
    "worker": ["worker"],
    "command line": ["console", "valve", "show"],
    "search": ["console", "search", "posts"],
}


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("process", COMMANDS)
def test_an_unusable_file_of_authorities_ends_the_process_as_a_wrong_setting(
    process: str, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    ended = subprocess.run(
        [sys.executable, "-m", *COMMANDS[process]],
        cwd=ROOT,
        env={
            **os.environ,
            "AWS_REGION": "eu-west-1",
            "SLUICE_QUEUE_URL": "https://sqs.example/1/main",
            "SLUICE_DEAD_LETTER_URL": "https://sqs.example/1/dead",
            "SLUICE_ELASTICSEARCH_URL": "https://127.0.0.1:9",
            "SLUICE_ELASTICSEARCH_CA_CERTS": str(file),
            "SLUICE_TABLES": "examples.posts.tables",
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("sluice")
    assert "SLUICE_ELASTICSEARCH_CA_CERTS" in line
    assert str(file) in line
    assert "PEM" in line
