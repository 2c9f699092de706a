"""The tests that need services; the few that missed a deadline are tried once more, alone.

They run four at a time on services that take all the processor there is, so that now and then one
waits longer than its deadline: that says nothing of Sluice. One that fails alone too fails the run.
What shows exactness is never tried twice: a history that did not converge once is a fault.
"""

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

FOLDERS = ("integration", "convergence", "e2e", "faults", "chaos")
NEVER_TWICE = ("tests/convergence/", "tests/chaos/")
AT_MOST = 3
# tests/sharing.py says which tests stay together, and which come first.
SHARED = ("--numprocesses", "4", "--dist", "loadscope", "--no-loadscope-reorder")
CACHE = Path(".pytest_cache/v/cache/lastfailed")
SOME_FAILED = 1


def may_be_tried_again(failed: Collection[str]) -> bool:
    """Whether these tests (node ids) are few, and none of them shows exactness."""
    return 0 < len(failed) <= AT_MOST and not any(test.startswith(NEVER_TWICE) for test in failed)


def run_pytest(*arguments: str) -> int:
    """Its exit code; 1 is SOME_FAILED."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def run_suite(arguments: Sequence[str], cache: Path = CACHE) -> int:
    """Run pytest with these arguments, and what failed again where it may be; the exit code."""
    cache.unlink(missing_ok=True)
    code = run_pytest(*arguments)
    if code != SOME_FAILED:
        return code
    failed = list(json.loads(cache.read_text("utf-8")))
    if not may_be_tried_again(failed):
        return code
    print(f"\nTried again, alone: {', '.join(failed)}", flush=True)
    return run_pytest(*failed)


if __name__ == "__main__":
    folders = [f"tests/{folder}" for folder in FOLDERS]
    sys.exit(run_suite([*SHARED, *folders, *sys.argv[1:]]))
