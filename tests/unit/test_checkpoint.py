"""A checkpoint says exactly what is done, and anything else than a whole one is refused."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.checkpoint import (
    Checkpoint,
    FileStore,
    Journal,
    Progress,
    Share,
    open_store,
    read_checkpoint,
    read_share,
    split_s3,
    write_checkpoint,
)
from console.errors import CheckpointError, MisuseError
from worker.errors import UnavailableError

JOB = {"command": "backfill", "table": "posts", "segments": 4}
PLACES = st.one_of(
    st.none(),
    st.integers(0, 10**9),
    st.dictionaries(st.text(), st.fixed_dictionaries({"S": st.text()}), max_size=2),
)

PROGRESS = st.builds(
    Progress, PLACES, st.booleans(), st.dictionaries(st.text(), st.integers(0, 10**12), max_size=4)
)


@given(st.integers(0, 10**14), st.dictionaries(st.text(), PROGRESS, max_size=6))
def test_what_is_written_is_read_again(began: int, units: dict[str, Progress]) -> None:
    checkpoint = Checkpoint(JOB, began, units)
    assert read_checkpoint(write_checkpoint(checkpoint), JOB) == checkpoint


@given(st.data())
def test_a_part_of_a_checkpoint_or_a_changed_one_is_refused(data: st.DataObject) -> None:
    whole = write_checkpoint(
        Checkpoint(JOB, 5, {"0": Progress({"id": {"S": "a"}}, False, {"n": 1})})
    )
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CheckpointError):
        read_checkpoint(whole[:cut], JOB)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    if bytes(changed).split() != whole.split():
        with pytest.raises(CheckpointError):
            read_checkpoint(bytes(changed), JOB)


def test_the_checkpoint_of_another_job_is_refused_by_name() -> None:
    content = write_checkpoint(Checkpoint(JOB, 5, {}))
    with pytest.raises(CheckpointError, match="segments: 4 there, 8 here"):
        read_checkpoint(content, {**JOB, "segments": 8})


@given(st.integers(1, 12), st.lists(st.text(), unique=True))
def test_every_unit_belongs_to_exactly_one_share(of: int, units: list[str]) -> None:
    taken = [unit for number in range(1, of + 1) for unit in Share(number, of).take(units)]
    assert sorted(taken) == sorted(units)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "-1/2", "1/2/3", "1/"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        read_share(text)


@pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket/", "file", "s3:///key"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(MisuseError):
        split_s3(url)


def test_shares_have_files_of_their_own(tmp_path: Path) -> None:
    def no_client() -> Any:
        raise AssertionError

    first = open_store(str(tmp_path / "c"), Share(1, 2), no_client)
    second = open_store(str(tmp_path / "c"), Share(2, 2), no_client)
    first.save(b"1")
    second.save(b"2")
    assert (first.load(), second.load()) == (b"1", b"2")
    first.remove()
    assert (first.load(), second.load()) == (None, b"2")


def test_a_journal_goes_on_where_the_saved_one_stood(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "checkpoint")
    journal = Journal(JOB, store, lambda: 7, every_s=0)
    journal.open(["0", "1"])
    journal.advance("0", {"id": {"S": "m"}}, done=False, read=10, sent=10)
    journal.advance("1", None, done=True, read=5, sent=4)

    after_a_kill = Journal(JOB, store, lambda: 99)
    after_a_kill.open(["0", "1"])
    assert (after_a_kill.resumed, after_a_kill.began_ms) == (True, 7)
    assert after_a_kill.remaining() == ["0"]
    assert after_a_kill.progress("0").place == {"id": {"S": "m"}}
    assert (after_a_kill.count("read"), after_a_kill.count("sent")) == (15, 14)
    assert after_a_kill.close() is None
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_meets_half_a_file(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "checkpoint")
    contents = [write_checkpoint(Checkpoint(JOB, n, {})) for n in range(40)]
    store.save(contents[0])
    done = threading.Event()

    def write() -> None:
        for content in contents:
            store.save(content)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.load() in contents
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_full_disk_is_an_error_of_ours_and_the_last_checkpoint_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path / "checkpoint")
    store.save(b"before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*goes on"):
        store.save(b"after")
    assert store.load() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_checkpoint_that_cannot_be_removed_is_an_error_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    kept = Journal(JOB, FileStore(folder), lambda: 7).close()
    assert isinstance(kept, MisuseError)


class Away:
    """A bucket or an index that answers once."""

    def __init__(self) -> None:
        self.saves = 0

    def load(self) -> bytes | None:
        return None

    def save(self, content: bytes) -> None:
        self.saves += 1
        if self.saves > 1:
            raise UnavailableError("no checkpoint can be kept")

    def remove(self) -> None:
        raise AssertionError("nothing is done")


def test_what_ended_the_work_is_told_rather_than_that_no_checkpoint_could_be_kept() -> None:
    store = Away()
    journal = Journal({}, store, lambda: 5)
    journal.open(["a"])
    with pytest.raises(UnavailableError, match="the table is away"), journal.kept():
        raise UnavailableError("the table is away")
    assert store.saves == 2
    with pytest.raises(UnavailableError, match="no checkpoint"), journal.kept():
        pass
