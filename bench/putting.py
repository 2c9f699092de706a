"""A writer of one item at a time, and how long each took: `python -m bench.putting URL TABLE S`.

A process of its own, so that its times are the table's and not another thread's. Prints an
empty line when it begins, and at the end a JSON list of [time of the monotonic clock, seconds that
the write took].
"""

import json
import sys
import time

from bench.corpus import make_posts, type_post
from bench.stage import Writer

EVERY_S = 0.05


def main(url: str, table: str, seconds: float) -> None:
    """Write until the time is over."""
    writer = Writer(url)
    items = [type_post(post) for post in make_posts(100, prefix="writer")]
    took: list[tuple[float, float]] = []
    print(flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        writer.call("PutItem", {"TableName": table, "Item": items[len(took) % len(items)]})
        took.append((began, time.monotonic() - began))
        time.sleep(EVERY_S)
    print(json.dumps(took))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
