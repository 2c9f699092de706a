"""`python -m tests.chaos`: the pipeline on real services under random faults, and the verdict.

Exits 0 if the index equals the table at the end, 1 if not. A seed decides the faults and the
writes; how they meet is up to the machine.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Places, run_chaos
from tests.services.engines import run_dynamodb, run_elasticmq, run_moto, run_search_engine
from tests.services.environment import scrub


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--engine", default="elasticsearch-8")
    options = parser.parse_args()
    scrub(os.environ)
    directory = Path(tempfile.mkdtemp(prefix="sluice-chaos-"))
    started = time.monotonic()

    def log(what: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {what}", flush=True)

    print(f"seed {options.seed}, {options.minutes} minutes, {options.engine}; logs in {directory}")
    with (
        run_dynamodb(directory / "dynamodb", os.environ) as dynamodb,
        run_elasticmq(directory / "elasticmq", os.environ) as elasticmq,
        run_moto(directory / "s3") as s3,
        run_search_engine(options.engine, directory / "search", os.environ) as search,
    ):
        places = Places(dynamodb.url, elasticmq.url, s3.url, search.url)
        report = run_chaos(places, directory, seed=options.seed, minutes=options.minutes, log=log)
    print("\n".join(report.lines()))
    print("PASSED" if report.passed else f"FAILED: replay with --seed {options.seed}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
