"""Read capacity: the budget keeps to its rate, whatever readers do and whatever calls cost."""

from hypothesis import given
from hypothesis import strategies as st

from console.rates import PAGE_ITEMS, Budget, Costs, page_items

RATES = st.floats(1, 100_000)


@given(
    RATES, st.lists(st.tuples(st.floats(0.5, 256), st.floats(0, 1), st.floats(0, 2)), max_size=60)
)
def test_what_is_spent_never_passes_the_rate_and_one_second_saved(
    rate: float, calls: list[tuple[float, float, float]]
) -> None:
    now = 0.0
    budget = Budget.open(rate, now)
    spent = 0.0
    for reserved, share, idle in calls:
        now += idle
        now += budget.reserve(reserved, now)
        spent += reserved * share
        assert spent <= rate * (now + 1) * 1.000001
        budget.settle(reserved, reserved * share, now)


@given(RATES, st.lists(st.floats(0, 512), min_size=1, max_size=60))
def test_calls_dearer_than_guessed_are_made_up_for(rate: float, costs: list[float]) -> None:
    now = 0.0
    budget = Budget.open(rate, now)
    for cost in costs:
        now += budget.reserve(0.5, now)
        budget.settle(0.5, cost, now)
    now += budget.reserve(0, now)
    assert sum(costs) <= rate * (now + 1) * 1.000001


@given(RATES, st.integers(1, 32), st.floats(0.01, 100))
def test_a_page_of_each_reader_costs_a_second_of_the_rate_at_most(
    rate: float, readers: int, each: float
) -> None:
    items = page_items(rate, readers, each)
    assert 1 <= items <= PAGE_ITEMS
    assert items == 1 or items * each * readers <= rate * 1.000001


def test_the_first_page_expects_the_largest_items() -> None:
    costs = Costs()
    assert costs.each is None
    assert page_items(400, 2, None) == 2
    costs.add(10, 5)
    assert costs.each == 0.5
