"""Whether this host's clock may say when a read of the table was. Pure.

R, the time of a read, is this host's; the times of changes are DynamoDB's. A read supersedes a
change that is older by more than the margin (`worker/order.py`): a clock that runs ahead by more
than that would let a read undo changes made after it, one that is behind lets reads mend nothing.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from console.errors import MisuseError

DATE_MS: Final = 2_000
"""The Date of an HTTP answer is floored to the second, and may be a second old."""


def read_date(answer: Mapping[str, Any]) -> str:
    """The Date of boto3's answer; empty if it has none."""
    return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))


def measure_ahead(date: str, before_ms: int, after_ms: int) -> int:
    """Milliseconds by which our clock is ahead of a server's at least; negative: behind.

    date: the Date of an HTTP answer, asked for at `before_ms` and there at `after_ms`, by our
    clock. 0 where the two may be equal, and where the answer has no date.
    """
    try:
        server_ms = int(parsedate_to_datetime(date).timestamp()) * 1_000
    except (TypeError, ValueError):
        return 0
    if before_ms > server_ms + DATE_MS:
        return before_ms - server_ms - DATE_MS
    return min(0, after_ms - server_ms)


def check_clock(ahead_ms: int, margin_s: int) -> None:
    """Raises MisuseError if the clock has used up half of the margin: the rest is for others."""
    if abs(ahead_ms) * 2 <= margin_s * 1_000:
        return
    told = "ahead of" if ahead_ms > 0 else "behind"
    raise MisuseError(
        f"the clock of this host is {abs(ahead_ms) / 1_000:,.0f} s {told} DynamoDB's, more than"
        f" half of SLUICE_CLOCK_MARGIN_S ({margin_s} s): reads would be taken for newer or older"
        " than they are",
        hint="set the clock, by NTP for example, and run the same command again",
    )
