"""Whatever the function does, no record is lost, none overtakes, and the checkpoint waits."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_stream import FakeFunction, Scene, client_error, scene

KEYS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=25)
SETTINGS = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 8),
        "retries": st.integers(0, 2),
        "bisect": st.booleans(),
        "report_failures": st.booleans(),
        "parallelization": st.integers(1, 3),
        "window_s": st.integers(0, 2),
        "payload_bytes": st.integers(300, 3_000),
    }
)
ANSWERS = st.sampled_from(["done", "raise", "first", "last", "middle", "nonsense"])


class MoodyFunction(FakeFunction):
    """Answers as the list says, then accepts everything. Notes every record it was given."""

    def __init__(self, moods: list[str]) -> None:
        super().__init__()
        self.moods = list(moods)
        self.done: list[str] = []
        self.seen: list[str] = []
        self.answer = self.reply

    def reply(self, sequences: list[str]) -> object:
        """The answer for this batch."""
        self.seen += sequences
        mood = self.moods.pop() if self.moods else "done"
        if mood == "raise":
            raise RuntimeError("down")
        if mood == "nonsense":
            return {"batchItemFailures": [{"itemIdentifier": ""}]}
        at = {"first": 0, "middle": len(sequences) // 2, "last": len(sequences) - 1}.get(mood)
        return {"batchItemFailures": [] if at is None else [{"itemIdentifier": sequences[at]}]}


def given_up(made: Scene) -> set[str]:
    """Sequence numbers in the destination's hands."""
    return {
        record["dynamodb"]["SequenceNumber"]
        for letter in made.letters
        for record in json.loads(letter["payload"])["Records"]
    }


@settings(max_examples=150)
@given(keys=KEYS, moods=st.lists(ANSWERS, max_size=30), options=SETTINGS)
def test_every_record_is_settled_once_and_the_checkpoint_reaches_the_end(
    keys: list[str], moods: list[str], options: dict[str, Any]
) -> None:
    """At least once: seen by the function, and then done or given up, each exactly once."""
    function = MoodyFunction(moods)
    made = scene(function, **options)
    numbers = [made.stream.put(key) for key in keys]
    made.settle()
    counters = made.trigger.counters
    assert set(function.seen) == set(numbers)
    assert counters.delivered + counters.discarded == len(numbers)
    assert len(given_up(made)) == counters.discarded
    assert made.trigger.snapshot()["shard-1"].after == numbers[-1]


@settings(max_examples=150)
@given(keys=KEYS, moods=st.lists(ANSWERS, max_size=30), options=SETTINGS)
def test_first_deliveries_keep_the_order_of_each_key(
    keys: list[str], moods: list[str], options: dict[str, Any]
) -> None:
    """A record is first seen only after all earlier ones of its key; of its shard without lanes."""
    function = MoodyFunction(moods)
    made = scene(function, **options)
    key_of = {made.stream.put(key): key for key in keys}
    made.settle()
    first_seen = list(dict.fromkeys(function.seen))
    for key in set(keys):
        of_key = [number for number in first_seen if key_of[number] == key]
        assert of_key == sorted(of_key, key=int)
    if options["parallelization"] == 1:
        assert first_seen == sorted(first_seen, key=int)


@settings(max_examples=100)
@given(
    keys=KEYS,
    poison=st.sets(st.sampled_from("abcdef"), min_size=1, max_size=2),
    options=SETTINGS,
    report=st.booleans(),
)
def test_the_checkpoint_never_passes_a_failed_record(
    keys: list[str], poison: set[str], options: dict[str, Any], report: bool
) -> None:
    """With unlimited retries a record that fails holds the checkpoint before it, for ever."""
    made = scene(
        FakeFunction(poison=frozenset(poison), report=report),
        **(options | {"retries": -1, "report_failures": report}),
    )
    numbers = [made.stream.put(key) for key in keys]
    bad = [int(n) for n, key in zip(numbers, keys, strict=True) if key in poison]
    for _ in range(40):
        made.poll(seconds=1)
        after = made.trigger.snapshot()["shard-1"].after
        assert not bad or after is None or int(after) < bad[0]
    assert made.letters == []


@settings(max_examples=100)
@given(
    keys=st.lists(st.sampled_from("abcde"), max_size=30),
    place=st.integers(0, 30),
    options=SETTINGS,
    report=st.booleans(),
)
def test_with_bisect_a_single_poison_record_ends_alone_in_the_destination(
    keys: list[str], place: int, options: dict[str, Any], report: bool
) -> None:
    """Whether the function raises or reports it."""
    made = scene(
        FakeFunction(poison=frozenset({"poison"}), report=report),
        **(options | {"bisect": True, "report_failures": report}),
    )
    place = min(place, len(keys))
    numbers = [made.stream.put(key) for key in [*keys[:place], "poison", *keys[place:]]]
    made.settle()
    assert given_up(made) == {numbers[place]}
    assert made.trigger.counters.delivered == len(keys)


@settings(max_examples=100)
@given(
    keys=KEYS,
    moods=st.lists(ANSWERS, max_size=20),
    options=SETTINGS,
    stops=st.lists(st.integers(1, 4), max_size=6),
    faults=st.lists(
        st.sampled_from(["InternalServerError", "ExpiredIteratorException", "500"]), max_size=6
    ),
)
def test_stops_and_faults_lose_nothing(
    keys: list[str],
    moods: list[str],
    options: dict[str, Any],
    stops: list[int],
    faults: list[str],
) -> None:
    """A trigger that is stopped at any round goes on from its snapshot; reads fail in between."""
    function = MoodyFunction(moods)
    made = scene(function, **options)
    numbers = [made.stream.put(key) for key in keys]
    made.stream.page = 3
    made.stream.faults["GetRecords"] = [client_error(code) for code in faults]
    for rounds in stops:
        made.poll(rounds, seconds=1)
        made.start(resume=True)
    for _ in range(300):
        made.poll(seconds=1)
        if made.trigger.snapshot()["shard-1"].after == numbers[-1]:
            break
    assert made.trigger.snapshot()["shard-1"].after == numbers[-1]
    assert set(function.seen) == set(numbers)
    assert made.trigger.counters.gaps == ()
