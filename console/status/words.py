"""Times and spans for people. Pure."""

from datetime import UTC, datetime


def write_time(ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601, UTC, in seconds."""
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_span(seconds: float) -> str:
    """A length of time in its largest unit, rounded down: 45 s, 3 min, 5 h, 12 days."""
    for unit, length in (("days", 172_800), ("h", 7_200), ("min", 120)):
        if seconds >= length:
            return f"{int(seconds // (86_400 if unit == 'days' else length // 2)):,} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
