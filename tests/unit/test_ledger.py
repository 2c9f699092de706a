"""What a worker has done: nothing counted twice, nothing forgotten but the lags of long ago."""

from hypothesis import given
from hypothesis import strategies as st

from worker import metrics
from worker.fate import Fate, count_lags
from worker.ledger import CLASSES, OTHER, WINDOW_S, Histogram, Ledger
from worker.metrics import LAG, METRICS
from worker.telemetry import Reading, write_lines


def fate(lags_s: list[float], applied: int = 0, obsolete: int = 0) -> Fate:
    ms = [round(1000 * lag) for lag in lags_s]
    return Fate(
        done=len(lags_s),
        took_ms=40,
        lag_sum_ms=sum(ms),
        lag_max_ms=max(ms, default=0),
        lags=count_lags(lags_s),
        applied=applied,
        obsolete=obsolete,
    )


def test_every_figure_is_taken_once_and_stays_in_the_sum() -> None:
    ledger = Ledger()
    ledger.ended(fate([1, 2], applied=2))
    ledger.failed()
    first = ledger.take()
    ledger.ended(fate([3], obsolete=1))
    second, third = ledger.take(), ledger.take()
    assert [one.sums[metrics.RECEIVED] for one in (first, second, third)] == [2, 1, 0]
    assert [one.sums[metrics.RETRIES] for one in (first, second, third)] == [1, 0, 0]
    whole = ledger.since_start()
    assert (whole.sums[metrics.RECEIVED], whole.sums[metrics.APPLIED]) == (3, 2)
    assert sum(whole.histograms[LAG].counts) == 3


def test_a_copy_does_not_change_with_what_comes_later() -> None:
    ledger = Ledger()
    before = ledger.since_start()
    ledger.ended(Fate(1, 1, took_ms=1, classes={"ValueError": 1}))
    assert before == Ledger().since_start()


def test_the_window_of_lags_forgets_what_is_older() -> None:
    now = [0.0]
    ledger = Ledger(lambda: now[0])
    ledger.ended(fate([1]))
    now[0] = WINDOW_S - 50
    ledger.ended(fate([2, 2]))
    assert sum(ledger.recent_lags().counts) == 3
    now[0] = WINDOW_S
    assert sum(ledger.recent_lags().counts) == 2
    now[0] = 3 * WINDOW_S
    assert sum(ledger.recent_lags().counts) == 0
    assert sum(ledger.since_start().histograms[LAG].counts) == 3


def test_the_window_holds_no_more_slots_than_its_length_needs() -> None:
    now = [0.0]
    ledger = Ledger(lambda: now[0])
    for second in range(2_000):
        now[0] = second
        ledger.ended(fate([1]))
    assert len(ledger._slots) <= 31


def test_a_message_that_was_no_chunk_has_no_place_in_a_histogram() -> None:
    ledger = Ledger()
    ledger.ended(Fate(0, 1, classes={"UndecodableMessage": 1}))
    whole = ledger.since_start()
    assert all(sum(one.counts) == 0 for one in whole.histograms.values())
    assert whole.refused == {"UndecodableMessage": 1}


def test_error_classes_without_end_take_no_memory_without_end() -> None:
    ledger = Ledger()
    for number in range(1_000):
        ledger.ended(Fate(0, 1, classes={f"Error{number}": 1}))
    refused = ledger.since_start().refused
    assert len(refused) == CLASSES + 1
    assert refused[OTHER] == 1_000 - CLASSES


@given(st.lists(st.floats(0, 100_000), max_size=300))
def test_a_histogram_tells_few_values_of_about_its_distribution(lags: list[float]) -> None:
    histogram = Histogram.of(LAG)
    for lag in lags:
        histogram.add(lag)
    values = histogram.values()
    assert values == sorted(values)
    assert len(values) == min(len(lags), metrics.VALUES)
    if lags:
        assert values[-1] == max(lags)
        assert values[0] >= min(lags)
        bound = next((b for b in LAG.bounds if b >= min(lags)), max(lags))
        assert values[0] <= bound


def test_each_metric_is_told_in_a_line_and_each_class_of_refusals_in_one() -> None:
    ledger = Ledger()
    ledger.ended(Fate(3, 2, took_ms=10, lags=count_lags([1]), classes={"A": 1, "B": 1}))
    reading = Reading(breaker="trial", valve="shut", valve_why="2 of 5", held=4)
    state, *refused = write_lines("changes", 7, reading, ledger.take())
    message, line = state
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert message == "worker state"
    assert line["why"] == "2 of 5"
    assert {m["Name"]: m["Unit"] for m in directive["Metrics"]} == {m.name: m.unit for m in METRICS}
    assert all(metric.name in line for metric in METRICS)
    assert (line["Paused"], line["ValveShut"], line["Held"], line["Polling"]) == (1, 1, 4, 1)
    for (message, line), name in zip(refused, "AB", strict=True):
        assert message == "changes refused"
        assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Queue", "Error"]]
        assert (line["Queue"], line["Error"], line["ChangesRefused"]) == ("changes", name, 1)


def test_a_quiet_span_tells_no_empty_histogram() -> None:
    (state,) = write_lines("changes", 7, Reading(), Ledger().take())
    assert "LagSeconds" not in state[1]
    assert state[1]["ChangesReceived"] == 0
