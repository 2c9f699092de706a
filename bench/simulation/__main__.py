"""Figures of docs/capacity.md: `python -m bench.simulation`.

    python -m bench.simulation --base 50 --factor 100 --process-rate 1500 --cluster-rate 20000
    python -m bench.simulation --check bench/results.json

The second command puts the model beside the spike that `bench/run.py --only spike` measured.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Final

from bench.simulation.model import Outcome, Pool, Spike, simulate, size_pool
from bench.simulation.policy import Policy

REFRESH_S: Final = 1.0
"""What Elasticsearch adds at the most before a search sees what it took."""


def main() -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__)
    parser.add_argument("--base", type=float, default=50.0, help="changes a second")
    parser.add_argument("--factor", type=float, nargs="+", default=[10.0, 100.0, 1000.0])
    parser.add_argument("--spike-s", type=float, default=60.0)
    parser.add_argument("--process-rate", type=float, default=1_500.0)
    parser.add_argument("--cluster-rate", type=float, default=20_000.0)
    parser.add_argument("--drained-s", type=float, default=300.0)
    parser.add_argument("--check", type=Path, help="results of bench/run.py")
    asked = parser.parse_args()
    if asked.check:
        return check(asked.check)
    pool = Pool(process_rate=asked.process_rate, cluster_rate=asked.cluster_rate)
    policy = Policy()
    print(
        "| spike | tasks, scaled | queue, changes | messages | longest lag | drained after"
        f" | tasks to drain in {asked.drained_s:.0f} s |\n" + "| --- " * 7 + "|"
    )
    for factor in asked.factor:
        spike = Spike(base=asked.base, factor=factor, length_s=asked.spike_s)
        outcome = simulate(spike, pool, policy, length_s=4 * 3600)
        needed = size_pool(spike, pool, policy, drained_s=asked.drained_s)
        print(_line(f"{asked.base:g}/s * {factor:g}", outcome, needed))
    return 0


def _line(name: str, outcome: Outcome, needed: int | None) -> str:
    changes, messages = outcome.deepest
    after = outcome.drained_after_s
    cells = [
        name,
        str(outcome.most_tasks),
        f"{changes:,.0f}",
        f"{messages:,.0f}",
        f"{outcome.longest_lag_s:,.0f} s",
        "not within 4 h" if math.isinf(after) else f"{after:,.0f} s",
        "the cluster is the bound" if needed is None else str(needed),
    ]
    return f"| {' | '.join(cells)} |"


def check(results: Path) -> int:
    """The measured spike beside the model's; 1 if none was measured."""
    spikes = [
        row["data"]
        for row in json.loads(results.read_text())["rows"]
        if row["name"] == "spike model"
    ]
    if not spikes:
        print(f"{results} holds no measured spike: run bench/run.py --only spike")
        return 1
    for measured in spikes:
        from_full = predict(measured, measured["process_rate"])
        meanwhile = predict(measured, measured["process_rate_meanwhile"])
        print(f"{'':18} {'from a full queue':>18} {'while it lasted':>18} {'measured':>12}")
        for name, value in from_full.items():
            print(f"{name:18} {value:18,.1f} {meanwhile[name]:18,.1f} {measured[name]:12,.1f}")
    return 0


def predict(measured: dict[str, float], process_rate: float) -> dict[str, float]:
    """What the model says of a measured spike, from its load and a process's rate.

    Where whoever makes the load shares the machine, a process is slower while the spike lasts than
    it is from a full queue: the two rates are bounds.
    """
    spike = Spike(
        base=measured["base"], factor=measured["factor"], start_s=30, length_s=measured["length_s"]
    )
    pool = Pool(process_rate=process_rate)
    policy = Policy(concurrency=round(measured["processes"]))
    outcome = simulate(spike, pool, policy, length_s=3600, tasks=1)
    return {
        "deepest": outcome.deepest[0],
        "longest_lag_s": outcome.longest_lag_s + REFRESH_S,
        "drained_after_s": outcome.drained_after_s,
    }


if __name__ == "__main__":
    sys.exit(main())
