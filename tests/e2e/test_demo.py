"""`sluice demo` and `sluice up` as processes: what they promise, and what they leave behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.demo.display import PlainDisplay
from console.demo.play import MODULE, Outcome, Play
from console.demo.scenario import TABLE, Spike, existing_posts
from console.local.pipeline import Pipeline, Plan, run_pipeline
from console.output import make_console
from tests.polling import wait_for
from worker.cluster import path
from worker.mappings import META

SMALL = ("--posts", "60", "--edits", "300", "--seed", "11")
# A background job of a shell ignores Ctrl-C and hands that down: heed it again.
SLUICE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from console.cli import main
sys.exit(main())
"""
POISON = "post-2000000"


class Program:
    """A `sluice` command in a process of its own, with all that it starts."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.output = directory / "output.txt"
        self.logs = directory / "logs"
        self.logs.mkdir()
        environment = {**os.environ, "TMPDIR": str(self.logs)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SLUICE, *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.started: set[psutil.Process] = set()

    def look(self) -> str:
        """Note what is running now; all that was printed so far."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.started.update(psutil.Process(self.process.pid).children(recursive=True))
        return self.output.read_text()

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Until it has printed this. Fails when it ends before."""

        def said() -> bool:
            shown = self.look()
            assert text in shown or self.process.poll() is None, shown
            return text in shown

        wait_for(f"{text!r} in the output", said, seconds=seconds)

    def end(self, seconds: float = 180) -> int:
        """Wait for the end; its exit code."""
        wait_for(
            "its end", lambda: self.look() and self.process.poll() is not None, seconds=seconds
        )
        return self.process.wait()

    def left(self) -> list[psutil.Process]:
        """What it started that is running still. A zombie has ended, and waits to be noticed."""

        def runs(process: psutil.Process) -> bool:
            try:
                return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                return False

        return [process for process in self.started if runs(process)]


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[list[Program]]:
    """Programs that a test has started; what is left of them is killed."""
    started: list[Program] = []
    yield started
    for program in started:
        for process in program.left():
            process.kill()
        program.process.kill()
        program.process.wait()


def start(programs: list[Program], directory: Path, *arguments: str) -> Program:
    program = Program(directory, *arguments)
    programs.append(program)
    return program


def assert_nothing_is_left(program: Program) -> None:
    assert len(program.started) > 6, "two services, their watchers, workers and their children"
    wait_for("every process to end", lambda: not program.left(), seconds=15)


@pytest.mark.slow
def test_the_demo_ends_with_index_and_table_in_agreement_and_leaves_nothing(
    programs: list[Program], tmp_path: Path
) -> None:
    demo = start(programs, tmp_path, "demo", *SMALL)
    code = demo.end()
    shown = demo.output.read_text()
    assert code == 0, shown
    # How many is up to the machine: a fast one may have none in hand at the moment of a look.
    assert re.search(r"killed with SIGKILL, \d+ messages in the workers' hands", shown)
    assert f"Dead letter: {POISON}" in shown
    assert "the day before yesterday" in shown, "the cluster's own words"
    assert "sluice search posts" in shown
    assert "Index and table agree." in shown
    assert "\x1b" not in shown, "plain lines where there is no terminal"
    assert_nothing_is_left(demo)
    assert list(demo.logs.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)]
)
def test_a_demo_that_is_interrupted_leaves_no_process_behind(
    name: str, code: int, programs: list[Program], tmp_path: Path
) -> None:
    demo = start(programs, tmp_path, "demo", *SMALL)
    demo.wait_for("spike:")
    demo.look()
    demo.process.send_signal(signal.Signals[name])
    assert demo.end(seconds=30) == code
    assert_nothing_is_left(demo)
    if name != "SIGKILL":
        assert list(demo.logs.iterdir()) == []


def test_up_prints_an_environment_in_which_a_write_becomes_searchable(
    programs: list[Program], tmp_path: Path
) -> None:
    up = start(programs, tmp_path, "up")
    up.wait_for("Ctrl-C ends it")
    lines = up.output.read_text().splitlines()
    exports = [line.removeprefix("export ") for line in lines if line.startswith("export ")]
    environment = {**os.environ, **dict(line.split("=", 1) for line in exports)}
    first = lines.index("import boto3")
    snippet = "\n".join(lines[first : first + 3])
    subprocess.run([sys.executable, "-c", snippet], env=environment, check=True)

    def find() -> Any:
        command = [sys.executable, "-m", "console", "search", "posts", "hello", "--json"]
        run = subprocess.run(command, env=environment, capture_output=True, check=False)
        # Until the worker has made the alias there is none.
        return run.returncode == 0 and json.loads(run.stdout)["hits"]

    assert wait_for("the post to be found", find)[0]["document"]["title"] == "Hello"
    up.look()
    up.process.send_signal(signal.SIGINT)
    assert up.end(seconds=60) == 0
    assert_nothing_is_left(up)


def find_children_of_workers(program: Program) -> list[psutil.Process]:
    program.look()
    lines = {p: p.cmdline() for p in program.started if p.is_running()}
    workers = {p.pid for p, line in lines.items() if line[1:] == ["-m", "worker"]}
    return [p for p in lines if p.pid in workers and p.ppid() in workers]


def test_a_hung_child_of_a_worker_does_not_outlive_an_owner_that_was_killed(
    programs: list[Program], tmp_path: Path
) -> None:
    up = start(programs, tmp_path, "up")
    up.wait_for("Ctrl-C ends it")
    children = wait_for("children of the worker", lambda: find_children_of_workers(up))
    for child in children:
        child.suspend()
    up.process.kill()
    assert up.end() == -signal.SIGKILL
    assert_nothing_is_left(up)


def test_up_that_loses_a_service_says_so_keeps_the_logs_and_ends_with_1(
    programs: list[Program], tmp_path: Path
) -> None:
    up = start(programs, tmp_path, "up")
    up.wait_for("Ctrl-C ends it")
    (engine,) = [p for p in up.started if "osmem" in p.name()]
    engine.kill()
    assert up.end(seconds=60) == 1
    assert "osmem has ended" in up.output.read_text()
    (folder,) = up.logs.iterdir()
    assert str(folder) in up.output.read_text()
    assert (folder / "worker-1.log").exists()
    wait_for("every process to end", lambda: not up.left(), seconds=15)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Play]:
    """A pipeline whose 50 posts are indexed."""
    with run_pipeline(
        Plan(directory=tmp_path, modules=MODULE, workers=1, visibility_s=15)
    ) as pipeline:
        play = Play(pipeline, PlainDisplay(make_console()), posts=50, edits=0, seed=5)
        play.index_existing()
        yield play
        pipeline.workers.kill()


def judge(play: Play, poison: str = POISON) -> Outcome:
    return play.judge(Spike((), (), poison))


def change(pipeline: Pipeline, method: str, id_: str, body: dict[str, Any] | None = None) -> None:
    index = pipeline.tables[TABLE].index_name(1)
    answer = pipeline.cluster.request(method, path(index, "_doc", id_), body=body)
    assert answer.status in (200, 201)


def test_the_verdict_sees_a_document_that_somebody_tampered_with(filled: Play) -> None:
    table, meta = filled.pipeline.tables[TABLE], {"state": "live"}
    assert judge(filled).verdict.agrees
    before = filled.pipeline.cluster.request(
        "GET", path(table.index_name(1), "_doc", "post-0000003")
    ).body["_source"]
    change(filled.pipeline, "DELETE", "post-0000001")
    change(filled.pipeline, "PUT", "post-0000003", {**before, "title": "Another title"})
    change(filled.pipeline, "PUT", "post-0000004", {**before, META: {**before[META], **meta}})
    change(filled.pipeline, "PUT", "nobody", before)
    outcome = judge(filled)
    assert not outcome.fine
    assert {(d.kind, d.id) for d in outcome.verdict.differences} == {
        ("missing", "post-0000001"),
        ("stale", "post-0000003"),
        ("stale", "post-0000004"),
        ("left over", "nobody"),
    }


def test_without_its_poison_post_in_the_dead_letter_queue_the_outcome_is_not_fine(
    filled: Play,
) -> None:
    outcome = judge(filled)
    assert outcome.verdict.agrees
    assert outcome.poison is None
    assert not outcome.fine


def test_a_dead_letter_that_nobody_expected_is_not_fine(filled: Play) -> None:
    pipeline = filled.pipeline
    pipeline.clients.sqs.send_message(
        QueueUrl=pipeline.dead_letter_url,
        MessageBody="x",
        MessageAttributes={"sluice-id": {"DataType": "String", "StringValue": "stranger"}},
    )
    outcome = judge(filled)
    assert [letter.id for letter in outcome.strangers] == ["stranger"]
    assert not outcome.fine
    assert [letter.id for letter in judge(filled).strangers] == ["stranger"], "it stays there"


def test_a_worker_that_was_killed_is_gone_with_its_children(filled: Play) -> None:
    (worker,) = filled.pipeline.workers.running
    family = psutil.Process(worker.pid).children(recursive=True)
    assert len(family) >= filled.pipeline.plan.concurrency
    worker.kill()
    gone, _ = psutil.wait_procs(family, timeout=10)
    alive = [p for p in family if p not in gone and p.status() != psutil.STATUS_ZOMBIE]
    assert alive == []
    filled.pipeline.workers.start()
    filled.write(existing_posts(60, 5)[50:])
    reading = filled.wait("the new posts", lambda r: r.items == 60 and r.documents == 57, 60)
    assert reading.workers == 1
    assert time.monotonic() >= reading.at
