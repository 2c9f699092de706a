"""Break the order rule on purpose, each way by itself, and see the convergence suite go red.

    python -m tests.mutants [NAME ...]

Exits 0 if every mutant is caught, 1 if not. Each mutant is a copy of the project with one rule
broken; the suite runs on it with the embedded engine. One on which the suite does not end in time,
or goes red without a difference between index and table, is told by name, and the rest goes on.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("producer", "worker", "kit", "console", "examples", "tests", "pyproject.toml")
SUITE = [
    "-m",
    "pytest",
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-k",
    "embedded",
    "tests/convergence",
]
LIMIT_S = 240
GRACE_S = 30
"""What an interrupted suite may take to end its processes."""
DIFFERENCE = "differences(cluster"
"""Stands in the suite's output if, and only if, it compared index and table in vain."""


class Verdict(Enum):
    """What the suite says of a mutant. Only CAUGHT will do."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    HUNG = "HUNG"
    """It did not end in time: that may as well be the machine, so it is not called caught."""
    NOT_RUN = "NOT RUN"
    """Its words are gone from the code, or the suite went red for another reason."""


@dataclass(frozen=True)
class Mutant:
    """One rule broken: in this file, these words replaced by those."""

    name: str
    path: str
    before: str
    after: str


MUTANTS = (
    Mutant(
        "guard-dropped",
        "worker/index.py",
        '        action |= {"if_seq_no": found.seq_no, "if_primary_term": found.primary_term}\n',
        "        pass\n",
    ),
    Mutant(
        "tombstones-dropped",
        "worker/index.py",
        '    name = "create" if found is None else "index"\n',
        '    if write.content.state == "deleted":\n'
        '        return b"%b\\n" % orjson.dumps({"delete": action})\n'
        '    name = "create" if found is None else "index"\n',
    ),
    Mutant(
        "sequences-compared-as-text",
        "worker/order.py",
        "return cls(label, sequence.zfill(SEQUENCE_DIGITS))",
        "return cls(label, sequence)",
    ),
    Mutant(
        "stream-label-ignored",
        "worker/order.py",
        "return cls(label, sequence.zfill(SEQUENCE_DIGITS))",
        'return cls("", sequence.zfill(SEQUENCE_DIGITS))',
    ),
    Mutant(
        "last-arrival-wins",
        "worker/order.py",
        "    if stored.position is not None and position <= stored.position:\n",
        "    if False:\n",
    ),
    Mutant(
        "reads-always-win",
        "worker/order.py",
        "    if stored.time is not None and stored.time + margin_ms >= read:\n",
        "    if False:\n",
    ),
    Mutant(
        "reads-never-hold",
        "worker/order.py",
        "    if stored.read is None or at + margin_ms >= stored.read:\n",
        "    if True:\n",
    ),
    Mutant(
        "horizon-ignored",
        "worker/plan.py",
        "    return change.at < now_ms - horizon_ms\n",
        "    return False\n",
    ),
    Mutant(
        "conflicts-taken-for-done",
        "worker/outcomes.py",
        "        return Outcome.CONFLICT\n",
        "        return Outcome.DONE\n",
    ),
    Mutant(
        "last-of-a-chunk-kept",
        "worker/plan.py",
        "        if there is None or is_newer(target.statement, there.statement):\n",
        "        if True:\n",
    ),
)


def build(mutant: Mutant, directory: Path) -> None:
    """Copy the project and break the one rule. Raises ValueError if its words are not there."""
    for part in PARTS:
        source, copy = ROOT / part, directory / part
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    file = directory / mutant.path
    text = file.read_text()
    if text.count(mutant.before) != 1:
        raise ValueError(f"{mutant.name}: its words are no longer in {mutant.path}")
    file.write_text(text.replace(mutant.before, mutant.after))


def run(command: list[str], directory: Path, limit_s: float = LIMIT_S) -> tuple[int | None, str]:
    """Exit code and output of a command; None for the code if it had to be ended."""
    cache = os.environ.get("SLUICE_TEST_CACHE", str(ROOT / ".cache" / "services"))
    log = directory / "suite.log"
    with log.open("w") as output:
        suite = subprocess.Popen(
            [sys.executable, *command],
            cwd=directory,
            env={**os.environ, "SLUICE_TEST_CACHE": cache, "PYTHONPATH": str(directory)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        code: int | None = None
        try:
            code = suite.wait(limit_s)
        except subprocess.TimeoutExpired:
            # Interrupted, not killed: the suite ends what it started, workers and services.
            suite.send_signal(signal.SIGINT)
        finally:
            _end(suite)
    return code, log.read_text(errors="replace")


def _end(suite: "subprocess.Popen[bytes]") -> None:
    try:
        suite.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        suite.kill()
        suite.wait()


def judge(code: int | None, output: str) -> Verdict:
    """What a run of the suite shows: red for any other reason than a difference shows nothing."""
    if code is None:
        return Verdict.HUNG
    if code == 0:
        return Verdict.SURVIVED
    return Verdict.CAUGHT if code == 1 and DIFFERENCE in output else Verdict.NOT_RUN


def attempt(mutant: Mutant) -> Verdict:
    """Run the suite on one mutant."""
    with tempfile.TemporaryDirectory(prefix="sluice-mutant-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        try:
            build(mutant, directory)
        except ValueError as error:
            print(error)
            return Verdict.NOT_RUN
        code, output = run(SUITE, directory)
    verdict = judge(code, output)
    if verdict is Verdict.NOT_RUN:
        print(output[-3000:])
    return verdict


def main(names: list[str]) -> int:
    """Run the mutants named, or all; 1 unless each is caught."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    failed = 0
    for mutant in chosen:
        started = time.monotonic()
        verdict = attempt(mutant)
        took = time.monotonic() - started
        print(f"{mutant.name:32} {verdict.value:10} {took:5.0f} s", flush=True)
        failed += verdict is not Verdict.CAUGHT
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
