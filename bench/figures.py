"""Figures beside their references: medians, percentiles, ratios, and whether an aim was reached.

Pure. Nothing here judges: a row says what was measured, and what was aimed at.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Aim:
    """What a row's figure is compared with."""

    bound: Literal["at least", "at most", "within"]
    value: float

    def is_reached(self, figure: float) -> bool:
        """Whether a figure meets it. `within`: no further than this from 1."""
        if self.bound == "at least":
            return figure >= self.value
        if self.bound == "at most":
            return figure <= self.value
        return abs(figure - 1) <= self.value

    def __str__(self) -> str:
        sign = {"at least": "≥ ", "at most": "≤ ", "within": "1 ± "}[self.bound]
        return f"{sign}{self.value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    figure: float
    """Median over the rounds."""
    unit: str
    against: str
    """The reference, in words."""
    reference: float | None
    ratio: float | None
    """Median of the rounds' own ratios: a machine that slows down slows both sides of a round."""
    aim: Aim | None
    rounds: int
    least: float | None = None
    """The lowest of the rounds' ratios."""
    most: float | None = None
    """The highest of them."""
    note: str = ""
    data: Mapping[str, float] = field(default_factory=dict)
    """More numbers, for programs."""

    def with_data(self, **data: float) -> "Row":
        """The same row with these numbers."""
        return replace(self, data=data)

    @property
    def reached(self) -> bool | None:
        """Whether the aim was met; None without one."""
        measured = self.figure if self.ratio is None else self.ratio
        return None if self.aim is None else self.aim.is_reached(measured)


def compare(
    name: str,
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    unit: str,
    against: str,
    aim: Aim | None,
    note: str = "",
) -> Row:
    """A row from one figure of ours and one of the reference's for each round.

    Raises ValueError for no rounds, or for a reference that is not above 0.
    """
    ratios = [our / their for our, their in zip(ours, theirs, strict=True) if their > 0]
    if not ratios or len(ratios) != len(ours):
        raise ValueError(f"{name}: no rounds, or a reference of 0")
    return Row(
        name=name,
        what=what,
        figure=median(ours),
        unit=unit,
        against=against,
        reference=median(theirs),
        ratio=median(ratios),
        aim=aim,
        rounds=len(ratios),
        least=min(ratios),
        most=max(ratios),
        note=note,
    )


def tell(
    name: str,
    what: str,
    figure: float,
    *,
    unit: str,
    aim: Aim | None = None,
    note: str = "",
    against: str = "",
    reference: float | None = None,
    rounds: int = 1,
) -> Row:
    """A row whose figure itself is compared with a fixed bound, or with nothing.

    reference: a figure to read beside it; it may be 0.
    """
    return Row(
        name=name,
        what=what,
        figure=figure,
        unit=unit,
        against=against,
        reference=reference,
        ratio=None,
        aim=aim,
        rounds=rounds,
        note=note,
    )


def percentile(values: Iterable[float], share: float) -> float:
    """The least of these values that `share` (0 to 1) of them do not exceed.

    Raises ValueError for no values.
    """
    ranked = sorted(values)
    if not ranked:
        raise ValueError("no values")
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def is_flat(values: Sequence[float], slack: float) -> bool:
    """Whether the values of a time series do not grow: the median of the last third is no more
    than `slack` above that of the first. False for fewer than three."""
    third = len(values) // 3
    return third > 0 and median(values[-third:]) <= median(values[:third]) + slack


def write_row(row: Row) -> dict[str, Any]:
    """A row for JSON."""
    aim = None if row.aim is None else str(row.aim)
    return {**asdict(row), "aim": aim, "reached": row.reached}


def render(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    head = ["what", "figure", "reference", "ratio", "rounds", "aim", "reached"]
    lines = [head, ["---"] * len(head), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> list[str]:
    reference = "\u2013" if row.reference is None else f"{_digits(row.reference)} ({row.against})"
    spread = "" if row.least is None or row.most is None else f"{row.least:.2f}\u2013{row.most:.2f}"
    ratio = "\u2013" if row.ratio is None else f"{row.ratio:.2f}"
    rounds = f"{row.rounds}, {spread}" if spread and row.rounds > 1 else str(row.rounds)
    reached = {None: "\u2013", True: "yes", False: "**no**"}[row.reached]
    what = f"{row.what}; {row.note}" if row.note else row.what
    aim = "\u2013" if row.aim is None else str(row.aim)
    return [what, f"{_digits(row.figure)} {row.unit}", reference, ratio, rounds, aim, reached]


def _digits(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def describe(machine: Mapping[str, object]) -> str:
    """What it was measured on, in one line."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())
