"""What CloudWatch remembers of the time since index and table were last proven equal. Pure.

A trigger that was off for days and has caught up, or a queue that has, looks well again; what it
lost by then is lost all the same, and stays a gap until index and table are proven equal anew.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from console.status.metrics import Point, utc_now
from console.verify.agreement import Agreement

LONGEST: Final = timedelta(days=15)
"""How long CloudWatch keeps figures by the minute (Amazon CloudWatch User Guide, "Metrics")."""


def past_since(agreement: Agreement | None, now_ms: int) -> datetime:
    """From when on to look."""
    earliest = utc_now(now_ms) - LONGEST
    return earliest if agreement is None else max(earliest, utc_now(agreement.at_ms))


def late_since_ms(points: Iterable[Point], most_ms: float, unit_ms: float = 1.0) -> int | None:
    """Since when things may be lost; None if nothing ever was as old as that.

    points: ages; `unit_ms` long is each unit of them. most_ms: the age that is too old.
    """
    ages = ((point.at_ms, point.value * unit_ms) for point in points)
    return min((round(at_ms - age_ms) for at_ms, age_ms in ages if age_ms >= most_ms), default=None)


def failed_since_ms(points: Iterable[Point]) -> int | None:
    """When something that is counted first happened; None if it never did."""
    return min((point.at_ms for point in points if point.value), default=None)
