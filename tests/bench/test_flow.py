"""The flow of events, and which documents are searched for."""

from bench.flow import MARK, Source, take_turn
from bench.pooling import SIDES, rotate


def test_each_waiting_document_is_searched_for_in_its_turn() -> None:
    """A lost one, which is never found, hides none that came after it."""
    waiting = [str(n) for n in range(23)]
    looked: list[str] = []
    place = 0
    for _ in range(5):
        wanted, place = take_turn(waiting, place, 5)
        looked += wanted
    assert set(looked) == set(waiting)
    assert take_turn([], 7, 5) == ([], 0)
    assert take_turn(["a"], 7, 5)[0] == ["a"]


def test_an_event_marks_its_last_document_and_each_hundredth_with_what_came_after_it() -> None:
    source = Source("s", "some-table")
    event = source.make_event(MARK + 20)
    assert list(source.mark(MARK + 20)) == [(f"s-{MARK}", 20), (f"s-{MARK + 20}", 0)]
    source.make_event(10)
    assert list(source.mark(10)) == [(f"s-{MARK + 30}", 0)]
    assert {record["eventSourceARN"].split("/")[1] for record in event["Records"]} == {"some-table"}
    assert event["Records"][-1]["dynamodb"]["Keys"]["id"]["S"] == f"s-{MARK + 20}"


def test_each_side_is_first_once_within_as_many_rounds() -> None:
    orders = [rotate(SIDES, turn) for turn in range(len(SIDES))]
    assert [order[0] for order in orders] == list(SIDES)
    assert all(sorted(order) == sorted(SIDES) for order in orders)
