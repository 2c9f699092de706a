"""All benchmarks: `python bench/run.py`; some: `--only producer,worker`; in short: `--quick`.

Prints each row as it is measured, a table at the end, and writes bench/results.json. A timing never
fails it; a group that could not run is told at the end, and then the exit code is 1.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
# Run by its path, this folder would stand first, and its modules before Python's own.
sys.path[0] = str(ROOT)

from bench.figures import Row, describe, render, write_row  # noqa: E402
from bench.machine import read_machine  # noqa: E402
from bench.size import FULL, QUICK, TINY, Size  # noqa: E402
from bench.stage import MissingError, Stage, run_stage  # noqa: E402
from tests.services.environment import scrub  # noqa: E402

RESULTS: Final = ROOT / "bench" / "results.json"
PAGE: Final = ROOT / "docs" / "performance.md"
MARKS: Final = ("<!-- results -->", "<!-- end of results -->")


def _producer(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.producing import measure_producer

    return measure_producer(size)


def _worker(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.pooling import measure_pool

    return measure_pool(stage, size)


def _lag(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.lagging import measure_lag

    return measure_lag(stage, size)


def _spike(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.spiking import measure_spike

    return measure_spike(stage, size)


def _table(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.scanning import measure_table

    return measure_table(stage, size)


def _growth(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.growing import measure_growth

    return measure_growth(stage, size)


def _choices(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.choosing import measure_choices

    return measure_choices(stage, size)


def _memory(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.remembering import measure_memory

    return measure_memory(stage, size)


def _peer(stage: Stage, size: Size) -> Iterator[Row]:
    from bench.peer import measure_peer

    return measure_peer(stage, size)


GROUPS: Final[Mapping[str, Callable[[Stage, Size], Iterator[Row]]]] = {
    "producer": _producer,
    "worker": _worker,
    "lag": _lag,
    "spike": _spike,
    "table": _table,
    "growth": _growth,
    "choices": _choices,
    "memory": _memory,
    "peer": _peer,
}

DEFAULT: Final = [name for name in GROUPS if name not in ("choices", "memory", "peer")]
"""What runs unless named otherwise. `choices` is for who tunes, `memory` takes half an hour, `peer`
needs PostgreSQL and Redis."""


CONTENTS: Final[Mapping[str, str]] = {
    "producer": "processor time, chunking, bytes on the wire, cold import; no services",
    "worker": "the pool from a full queue, beside parallel_bulk and raw; cluster apart; hot keys",
    "lag": "the highest rate at which lag stays flat, and lag there",
    "spike": "a hundredfold spike: cluster, queue, writers; a naive Lambda under the same",
    "table": "backfill and verify, beside a scan",
    "growth": "ten times the documents, the queue, the tables",
    "choices": "what was tried: processes, threads, events, bulks, compression, connections",
    "memory": "a worker over 100,000 messages, half an hour",
    "peer": "pgsync on the same posts and cluster; needs PostgreSQL, Redis and the network",
}
"""What each group measures."""


def main() -> int:
    """Measure what was asked for."""
    asked = _parse()
    size = TINY if asked.tiny else QUICK if asked.quick else FULL
    names = asked.only.split(",") if asked.only else DEFAULT
    scrub(os.environ)
    machine = read_machine()
    print(describe(machine), flush=True)
    rows: list[Row] = []
    failed: list[str] = []
    skipped: list[str] = []
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        run_stage(Path(folder)) as stage,
    ):
        for name in names:
            started = time.monotonic()
            try:
                for row in GROUPS[name](stage, size):
                    rows.append(row)
                    print(render([row]).splitlines()[-1], flush=True)
            except MissingError as error:
                skipped.append(f"{name}: {error}")
            except Exception:  # noqa: BLE001 - the other groups are measured all the same
                traceback.print_exc()
                failed.append(name)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    machine["took"] = f"{time.monotonic() - began:.0f} s"
    mode = "tiny" if asked.tiny else "quick" if asked.quick else "full"
    results = {"mode": mode, "machine": machine, "failed": failed, "skipped": skipped}
    results["table"] = render(rows)
    asked.output.write_text(
        json.dumps({**results, "rows": [write_row(row) for row in rows]}, indent=1) + "\n"
    )
    print(f"\n{render(rows)}\n")
    if asked.page:
        write_page(PAGE, describe(machine), render(rows))
    for reason in skipped:
        print(f"skipped: {reason}")
    for name in failed:
        print(f"not measured, an error above: {name}")
    return 1 if failed else 0


def write_page(page: Path, machine: str, table: str) -> None:
    """Put a run's table between the marks of the page."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{machine}\n\n{table}\n{MARKS[1]}{after}")


def _parse() -> argparse.Namespace:
    groups = "\n".join(
        f"  {name:9} {what}{'' if name in DEFAULT else ' (only by name)'}"
        for name, what in CONTENTS.items()
    )
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"groups:\n{groups}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="groups, comma-separated")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: four minutes")
    parser.add_argument("--tiny", action="store_true", help="figures mean nothing: does it run?")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument(
        "--page", action="store_true", help="put the table into docs/performance.md"
    )
    asked = parser.parse_args()
    unknown = [name for name in asked.only.split(",") if name and name not in GROUPS]
    if unknown:
        parser.error(f"no group is named {', '.join(unknown)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
