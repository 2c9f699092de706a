"""How long to wait before trying again: pure, the chance drawn by the caller."""


def delay_s(failures: int, *, base_s: float, cap_s: float, chance: float) -> float:
    """Seconds to wait after so many failures in a row.

    Doubles from `base_s` up to `cap_s`, then is drawn between half of that and all of it, so that
    workers that failed together do not come back together.
    chance: a random number from 0 to 1.
    """
    doublings = min(max(failures, 1) - 1, 30)
    return min(base_s * 2.0**doublings, cap_s) * (0.5 + chance / 2)
