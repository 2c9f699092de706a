"""Whether so much is refused that taking more would only fill the dead-letter queue: pure.

A bad deploy refuses every change there is. The breaker is no help, for the cluster is well; so the
valve shuts on refusals themselves. What was refused is in the dead-letter queue and stays there:
the valve only bounds how much follows. The clock is an argument, in seconds, on any scale.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["open", "shut", "trial"]

NAMED: Final = 3
"""Error classes that `Valve.why` names, the most frequent first."""

TRIAL_MESSAGES: Final = 1
"""Messages in work at once while it is found out whether things are better."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop. Both `refusals` and `rate` must be reached within the window."""

    refusals: int = 100
    """Refused changes; 0: the valve never shuts."""
    rate: float = 0.5
    """Share of refused changes among all that ended, above 0 and up to 1."""
    window_s: float = 60.0
    pause_s: float = 60.0
    """From shutting to the trial."""


@dataclass(frozen=True, slots=True)
class Count:
    """What ended within one second."""

    second: int
    done: int
    refused: int
    classes: Mapping[str, int] = field(default_factory=dict)
    """The refused by error class, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Valve:
    """`open`: messages are taken. `shut`: none. `trial`: one at a time, to find out."""

    limits: Limits
    state: State = "open"
    counts: tuple[Count, ...] = ()
    """Of the window, oldest first; only while open."""
    trial_at: float = 0.0
    """When a shut valve lets a trial through."""
    why: str = ""
    """What shut it, for people; empty while it is open."""

    def counted(
        self, now: float, done: int, refused: int, classes: Mapping[str, int] | None = None
    ) -> "Valve":
        """Changes ended: so many well, so many refused, these by error class.

        A shut valve learns nothing from what was in work as it shut.
        """
        if self.limits.refusals < 1 or self.state == "shut" or done + refused < 1:
            return self
        if self.state == "trial":
            better = refused < self.limits.rate * (done + refused)
            what = f"in a trial {_describe(done, refused, classes or {})}"
            return self.opened() if better else self._shut(now, what)
        counts = self._count(now, done, refused, classes or {})
        total = sum(count.refused for count in counts)
        ended = total + sum(count.done for count in counts)
        if total >= self.limits.refusals and total >= self.limits.rate * ended:
            named: Counter[str] = Counter()
            for count in counts:
                named.update(count.classes)
            span = f"in {self.limits.window_s:g} s"
            return self._shut(now, _describe(ended - total, total, named, span))
        return replace(self, counts=counts)

    def waited(self, now: float) -> "Valve":
        """Time has passed: a pause that is over becomes a trial."""
        if self.state == "shut" and now >= self.trial_at:
            return replace(self, state="trial")
        return self

    def opened(self) -> "Valve":
        """Open, with nothing held against anybody: a trial went well, or an operator says so."""
        return Valve(self.limits)

    def limit(self) -> int | None:
        """How many messages may be in work at once; None: no limit of the valve's."""
        return {"open": None, "shut": 0, "trial": TRIAL_MESSAGES}[self.state]

    def _shut(self, now: float, why: str) -> "Valve":
        return Valve(self.limits, "shut", (), now + self.limits.pause_s, why)

    def _count(
        self, now: float, done: int, refused: int, classes: Mapping[str, int]
    ) -> tuple[Count, ...]:
        """One entry for each second: as many as the window is long, however much ends."""
        second = int(now)
        counts = tuple(c for c in self.counts if c.second > now - self.limits.window_s)
        if counts and counts[-1].second == second:
            last = counts[-1]
            named = Counter(last.classes) + Counter(classes)
            both = Count(second, last.done + done, last.refused + refused, named)
            return (*counts[:-1], both)
        return (*counts, Count(second, done, refused, classes))


def _describe(done: int, refused: int, classes: Mapping[str, int], span: str = "") -> str:
    ordered = sorted(classes.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name} {count}" for name, count in ordered[:NAMED])
    more = ", …" if len(ordered) > NAMED else ""
    text = f"{refused} of {done + refused} changes refused{' ' * bool(span)}{span}"
    return f"{text}: {named}{more}" if named else text
