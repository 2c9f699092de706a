"""The join: whatever order, however often statements about an item arrive, the end is the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from worker.order import Floor, Position, Statement, Stored, Verdict, absorb, decide

MARGIN = 6
"""Small, so that random times fall on its edges often."""
LABELS = ("2024-01-01T00:00:00.000", "2024-01-02T00:00:00.000")


@dataclass(frozen=True)
class Told:
    """A statement, and the version of the item it tells."""

    statement: Statement
    version: int


@dataclass
class Document:
    """A document as the worker would leave it."""

    stored: Stored | None = None
    version: int | None = None
    seen: list[int] = field(default_factory=list)

    def take(self, told: Told) -> None:
        verdict = decide(self.stored, told.statement, MARGIN)
        self.stored = absorb(self.stored, told.statement, verdict)
        if verdict is Verdict.APPLY:
            self.version = told.version


def change(sequence: int, at: int, version: int | None = None, label: str = LABELS[0]) -> Told:
    statement = Statement(Position.of(label, str(sequence)), at)
    return Told(statement, sequence if version is None else version)


def read(at: int, version: int) -> Told:
    return Told(Statement(None, at), version)


def floored(at: int, version: int, floor: Told) -> Told:
    position = floor.statement.position
    assert position is not None
    return Told(Statement(None, at, Floor(position, floor.statement.at)), version)


def settle(tolds: Sequence[Told]) -> Document:
    document = Document()
    for told in tolds:
        document.take(told)
    return document


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    """One item's true history: changes whose reported times jitter, and reads of what was true.

    True times grow; a reported time lags the true one by up to the margin, so two reported
    times disagree with the positions by the margin at most. A read's R lies before its moment.
    """
    steps = draw(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=9))
    restart = draw(st.integers(1, 9))
    tolds: list[Told] = []
    now, version, sequence = 1_000, 0, draw(st.integers(1, 10**20))
    for place, (wait, is_read) in enumerate(steps):
        now += wait
        if is_read and version:
            tolds.append(read(now - draw(st.integers(0, 2)), version))
            continue
        if place == restart:
            sequence = 0
        version += 1
        sequence += draw(st.integers(1, 10**20))
        at = now - draw(st.integers(0, MARGIN))
        tolds.append(change(sequence, at, version, LABELS[place >= restart]))
    return tolds


@given(st.data(), histories())
def test_every_delivery_of_a_history_ends_at_its_last_version(
    data: st.DataObject, history: list[Told]
) -> None:
    changes = [t for t in history if t.statement.position is not None]
    if not changes:
        return
    repeats = data.draw(st.lists(st.sampled_from(history), max_size=8))
    delivery = data.draw(st.permutations(history + repeats))
    document = settle(delivery)
    assert document.version == changes[-1].version


@given(st.data(), histories())
def test_a_document_never_goes_back_past_a_change_it_was_given(
    data: st.DataObject, history: list[Told]
) -> None:
    delivery = data.draw(st.permutations(history))
    document, newest = Document(), 0
    for told in delivery:
        document.take(told)
        newest = max(newest, told.version if told.statement.position else 0)
        assert document.version is not None
        assert document.version >= newest


@given(st.data(), histories())
def test_repeating_a_delivery_changes_nothing(data: st.DataObject, history: list[Told]) -> None:
    document = settle(data.draw(st.permutations(history)))
    before = document.version
    for told in data.draw(st.permutations(history)):
        document.take(told)
    assert document.version == before


def join(one: Told | None, other: Told) -> Told:
    """Of two statements, the one whose content a document keeps that took both."""
    if one is None:
        return other
    stored = absorb(None, one.statement, Verdict.APPLY)
    verdict = decide(stored, other.statement, MARGIN)
    return other if verdict is Verdict.APPLY else one


@st.composite
def statements(draw: st.DrawFn) -> list[Told]:
    """Changes and reads whose times grow with positions, as within one clock."""
    times = sorted(draw(st.lists(st.integers(0, 50), min_size=3, max_size=3)))
    tolds = []
    for place, at in enumerate(times):
        is_read = draw(st.booleans())
        tolds.append(read(at, -1 - at) if is_read else change(place + 1, at))
    return tolds


@given(statements(), st.permutations([0, 1, 2]))
@example([change(1, 0), read(3, -1), change(2, 10)], [2, 1, 0])
def test_the_join_is_commutative_associative_and_idempotent(
    tolds: list[Told], order: list[int]
) -> None:
    a, b, c = (tolds[place] for place in order)
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) == a


def test_positions_compare_as_numbers_within_a_stream() -> None:
    assert Position.of(LABELS[0], "9" * 21) < Position.of(LABELS[0], "1" + "0" * 21)


def test_a_later_stream_supersedes_whatever_its_numbers() -> None:
    assert Position.of(LABELS[0], "9" * 40) < Position.of(LABELS[1], "1")


def test_a_read_supersedes_a_change_only_past_the_margin() -> None:
    stored = Stored(Position.of(LABELS[0], "1"), 100_000, None)
    assert decide(stored, Statement(None, 100_000 + MARGIN), MARGIN) is Verdict.OBSOLETE
    assert decide(stored, Statement(None, 100_001 + MARGIN), MARGIN) is Verdict.APPLY


def test_a_live_change_wins_a_close_call_against_a_read() -> None:
    stored = Stored(None, None, 100_000)
    late = Statement(Position.of(LABELS[0], "1"), 100_000 - MARGIN)
    assert decide(stored, late, MARGIN) is Verdict.APPLY


def test_an_old_message_does_not_undo_a_repair() -> None:
    repaired = Stored(Position.of(LABELS[0], "5"), 1_000, 10_000_000)
    old = Statement(Position.of(LABELS[0], "7"), 2_000)
    assert decide(repaired, old, MARGIN) is Verdict.OBSOLETE


def test_a_read_never_lowers_or_invents_a_position() -> None:
    position = Position.of(LABELS[0], "5")
    stored = Stored(position, 1_000, None)
    after = absorb(stored, Statement(None, 10_000_000), Verdict.APPLY)
    assert after == Stored(position, 1_000, 10_000_000)
    assert absorb(None, Statement(None, 1), Verdict.APPLY).position is None


def test_a_noted_change_keeps_out_an_older_one_whose_clock_ran_ahead() -> None:
    """Without the note the older change would undo the read, which includes both."""
    older, newer = change(1, at=105), change(2, at=100)
    assert settle([read(101 + MARGIN, 9), newer, older]).version == 9


def test_a_read_that_was_superseded_keeps_no_later_change_out() -> None:
    """Its content is gone, so it no longer speaks for the changes it had included."""
    older, newer = change(1, at=105), change(2, at=100)
    assert settle([read(101 + MARGIN, 9), older, newer]).version == 2


# --- reads with a floor: what a rebuild copies ----------------------------------------------------


@st.composite
def copied_histories(draw: st.DrawFn) -> tuple[list[Told], list[Told]]:
    """A history of which the old index alone was given a part, and the copy into the new one.

    Answers what reaches the new index for certain (the copy, and the rest of the history), and all
    changes, which may reach it late and again.
    """
    history = draw(histories())
    alone = draw(st.lists(st.sampled_from(range(len(history))), unique=True, min_size=1))
    old = settle([history[place] for place in alone])
    assert old.stored is not None
    # The table is read after all that the old index was given, and before what follows `end`.
    end = draw(st.integers(max(alone) + 1, len(history)))
    earliest = max(told.statement.at for told in history[:end]) - draw(st.integers(0, 2))
    following = [t.statement.at for t in history[end:] if t.statement.position is not None]
    latest = min([earliest + MARGIN, *(at + MARGIN for at in following)])
    at = draw(st.integers(min(earliest, latest), latest))
    stored = old.stored
    floor = None
    if stored.position is not None and stored.time is not None:
        floor = Floor(stored.position, stored.time)
    statement = Statement(None, max(at, stored.read or 0), floor)
    copy = Told(statement, max(told.version for told in history[:end]))
    rest = [told for place, told in enumerate(history) if place not in alone]
    return [copy, *rest], [told for told in history if told.statement.position is not None]


@given(st.data(), copied_histories())
def test_a_copy_with_late_duplicates_of_anything_ends_at_the_last_version(
    data: st.DataObject, histories: tuple[list[Told], list[Told]]
) -> None:
    certain, changes = histories
    if not changes:
        return
    late = data.draw(st.lists(st.sampled_from(changes), max_size=8))
    document = settle(data.draw(st.permutations(certain + late)))
    assert document.version == changes[-1].version


def test_a_late_duplicate_that_is_there_before_the_copy_loses_only_to_a_floor() -> None:
    """The old index alone was given both changes; the older one comes again to the new index.

    It is within the margin of the copy's read, so without the floor it would stay for ever.
    """
    older, newer = change(1, at=100), change(2, at=101)
    assert settle([older, read(103, 2)]).version == 1
    assert settle([older, floored(103, 2, floor=newer)]).version == 2
    assert settle([floored(103, 2, floor=newer), older]).version == 2


def test_a_live_change_beyond_the_floor_wins_a_close_call() -> None:
    copy = floored(103, 1, floor=change(1, at=100))
    assert settle([copy, change(2, at=102)]).version == 2
    assert settle([change(2, at=102), copy]).version == 2


def test_a_copy_that_comes_after_a_later_read_brings_nothing_back() -> None:
    """The later read includes a change that came and went before the copy did."""
    old = floored(103, 1, floor=change(1, at=90))
    assert settle([read(203, 2), change(2, at=150), old]).version == 2


def test_a_read_whose_floor_is_the_document_itself_leaves_no_close_call() -> None:
    """A repair that has seen the document first need not wait for the margin."""
    there = change(2, at=100)
    assert settle([there, read(101, 9)]).version == 2
    assert settle([there, floored(101, 9, floor=there)]).version == 9


def test_a_floor_stands_for_the_changes_up_to_it() -> None:
    stored = Stored(Position.of(LABELS[0], "5"), 1_000, None)
    beyond = Floor(Position.of(LABELS[0], "7"), 2_000)
    below = Floor(Position.of(LABELS[0], "3"), 500)
    after = absorb(stored, Statement(None, 3_000, beyond), Verdict.APPLY)
    assert after == Stored(beyond.position, 2_000, 3_000)
    assert absorb(stored, Statement(None, 3_000, below), Verdict.APPLY) == Stored(
        stored.position, 1_000, 3_000
    )
