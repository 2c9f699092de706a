"""A rebuild's steps by themselves: the barrier, the swap, what a kill leaves behind."""

import json
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from console.checkpoint import Share
from console.errors import MisuseError
from console.rebuild import steps
from console.rebuild.barrier import list_writes, pass_barrier
from console.rebuild.copy import Copier, count, find_parts
from console.rebuild.stand import PHASES, Part, Phase, Progress, read_stand, write_progress
from console.rebuild.writing import Known, Written
from tests.integration.rebuild_tables import declare
from tests.polling import wait_for
from tests.services.engines import Engine, name_search_engines
from worker.cluster import Cluster, connect, path
from worker.errors import ConfigurationError, UnavailableError
from worker.mappings import META
from worker.schema import ensure_index, make_index
from worker.tables import Table, index_body

pytestmark = pytest.mark.services


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def cluster(search_engine: Engine) -> Iterator[Cluster]:
    connection = connect(search_engine.url)
    yield connection
    connection.close()


@pytest.mark.parametrize("turn", range(4))
def test_nothing_slips_into_the_old_index_alone_past_the_barrier(
    turn: int, search_engine: Engine, fresh_name: str
) -> None:
    """Writers hammer the old alias; after the barrier, no document of theirs appears any more."""
    cluster = connect(search_engine.url)
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    alias, old = versions[1].write_alias, versions[1].index_name(1)

    def hammer(writer: int) -> None:
        own = connect(search_engine.url)
        for number in range(10_000):
            lines = b"".join(
                b'{"create":{"_id":"%d-%d-%d"}}\n{"title":"%b"}\n' % (writer, number, n, b"x" * 50)
                for n in range(300)
            )
            answer = own.request(
                "POST", path(alias, "_bulk"), params={"require_alias": "true"}, lines=lines
            )
            if answer.body["errors"]:
                break
        own.close()

    for round_ in range(3):
        writers = [threading.Thread(target=hammer, args=(10 * round_ + n,)) for n in range(3)]
        for writer in writers:
            writer.start()
        time.sleep(random.uniform(0.1, 0.3))  # a random moment, not a wait for anything
        stand = steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
        assert stand.new is not None
        pass_barrier(cluster, old, stand.new.index, stand.progress, now_ms())
        seen = cluster.request("POST", path(old, "_count")).body["count"]
        for writer in writers:
            writer.join(30)
        cluster.request("POST", path(old, "_refresh"))
        assert cluster.request("POST", path(old, "_count")).body["count"] == seen
        steps.abort(cluster, read_stand(cluster, versions[2]))
    cluster.close()


@pytest.mark.parametrize(
    "search_engine", name_search_engines(os.environ)[1:], indirect=True, scope="session"
)
def test_the_barrier_waits_for_every_write_that_looked_the_old_alias_up(
    search_engine: Engine, fresh_name: str
) -> None:
    """One that the cluster holds up, as it would for a primary that moves."""
    cluster = connect(search_engine.url)
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    answers: list[Any] = []

    def write() -> None:
        own = connect(search_engine.url)
        params = {"require_alias": "true", "wait_for_active_shards": "2", "timeout": "3s"}
        lines = b'{"create":{"_id":"a"}}\n{"title":"x"}\n'
        answers.append(
            own.request("POST", path(versions[1].write_alias, "_bulk"), params=params, lines=lines)
        )
        own.close()

    writer = threading.Thread(target=write)
    writer.start()
    wait_for("the write to be in work", lambda: list_writes(cluster))
    stand = steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
    assert stand.new is not None
    assert answers == []
    pass_barrier(cluster, stand.old.index, stand.new.index, stand.progress, now_ms())
    assert not list_writes(cluster)
    writer.join(0.5)
    assert answers
    steps.abort(cluster, read_stand(cluster, versions[2]))
    cluster.close()


def test_no_search_falls_between_two_indexes_while_they_are_swapped(
    cluster: Cluster, search_engine: Engine, fresh_name: str
) -> None:
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    stand = steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
    for one in stand.pair:
        live = {META: {"id": "a", "state": "live"}}
        cluster.request("PUT", path(one.index, "_doc", "a"), body=live)
        cluster.request("POST", path(one.index, "_refresh"))
    over = threading.Event()
    answers: list[Any] = []

    def search() -> None:
        own = connect(search_engine.url)
        while not over.is_set():
            answer = own.request("POST", path(fresh_name, "_count"))
            answers.append(answer.body.get("count") if answer.status == 200 else answer)
        own.close()

    searchers = [threading.Thread(target=search) for _ in range(2)]
    for searcher in searchers:
        searcher.start()
    for _ in range(30):
        stand = steps.roll_back(cluster, steps.swap(cluster, stand, force=True))
    over.set()
    for searcher in searchers:
        searcher.join(30)
    assert len(answers) > 30
    assert set(map(str, answers)) == {"1"}


@pytest.mark.parametrize("search_engine", ["elasticsearch-8"], indirect=True, scope="session")
def test_what_searches_found_they_find_after_a_swap_however_seldom_indexes_refresh(
    cluster: Cluster, search_engine: Engine, fresh_name: str
) -> None:
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    stand = steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
    old, new = stand.pair
    for one in (old, new):
        settings = {"index": {"refresh_interval": "60s"}}
        assert cluster.request("PUT", path(one.index, "_settings"), body=settings).status == 200

    def write(name: str, served: str) -> None:
        """As the workers do: into both, of which searches have seen one since."""
        for one in (old, new):
            live = {META: {"id": name, "state": "live"}}
            assert cluster.request("PUT", path(one.index, "_doc", name), body=live).status == 201
        cluster.request("POST", path(served, "_refresh"))

    write("a", old.index)
    with polled(search_engine.url, fresh_name) as counts:
        steps.swap(cluster, read_stand(cluster, versions[2]), force=True)
    assert set(counts) == {1}
    write("b", new.index)
    with polled(search_engine.url, fresh_name) as counts:
        steps.roll_back(cluster, read_stand(cluster, versions[2]))
    assert set(counts) == {2}
    steps.abort(cluster, read_stand(cluster, versions[2]))


@contextmanager
def polled(url: str, alias: str) -> Iterator[list[int]]:
    """Counts what searches find, before, during and after."""
    counts: list[int] = []
    over = threading.Event()

    def search() -> None:
        own = connect(url)
        while not over.is_set():
            counts.append(own.request("POST", path(alias, "_count")).body["count"])
        own.close()

    poller = threading.Thread(target=search)
    poller.start()
    try:
        wait_for("a search", lambda: counts)
        yield counts
        seen = len(counts)
        wait_for("a search after it", lambda: len(counts) > seen + 1)
    finally:
        over.set()
        poller.join()


def test_a_worker_starts_beside_a_rebuild_only_if_it_declares_both_versions(
    cluster: Cluster, fresh_name: str
) -> None:
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    assert ensure_index(cluster, versions[2]) == f"{fresh_name}-v1"
    steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
    assert ensure_index(cluster, versions[2]) == f"{fresh_name}-v1"
    with pytest.raises(ConfigurationError, match="declares 1 alone"):
        ensure_index(cluster, versions[1])
    with pytest.raises(ConfigurationError, match=r"v2: properties\.title\.type: declared"):
        ensure_index(cluster, versions[3])
    steps.swap(cluster, read_stand(cluster, versions[2]), force=True)
    assert ensure_index(cluster, versions[2]) == f"{fresh_name}-v2"
    steps.finish(cluster, read_stand(cluster, versions[2]))
    assert ensure_index(cluster, versions[2]) == f"{fresh_name}-v2"


def test_what_a_killed_step_left_behind_is_taken_up_or_removed(
    cluster: Cluster, fresh_name: str
) -> None:
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    new = versions[2].index_name(2)

    make_index(cluster, versions[2], {})  # a start, killed before the aliases
    steps.abort(cluster, read_stand(cluster, versions[2]))
    assert cluster.request("GET", path(new)).status == 404

    # An abort right after a start, killed before the removal.
    body = index_body(versions[2])["mappings"]
    body["_meta"]["sluice"]["rebuild"] = {"phase": "created"}
    make_index(cluster, versions[2], {"mappings": body})
    cluster.request("PUT", path(new, "_doc", "old"), body={"title": "from the last attempt"})
    stand = steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
    assert stand.progress.phase == "created"
    cluster.request("POST", path(new, "_refresh"))
    assert count(cluster, new) == 0

    steps.swap(cluster, stand, force=True)
    steps.finish(cluster, read_stand(cluster, versions[2]))
    make_index(cluster, versions[1], {})  # a finish, killed before the removal
    steps.finish(cluster, read_stand(cluster, versions[2]))
    assert cluster.request("GET", path(versions[1].index_name(1))).status == 404


@pytest.mark.parametrize("phase", PHASES)
def test_a_rebuild_can_be_aborted_wherever_it_stands_and_begun_again(
    phase: Phase, cluster: Cluster, fresh_name: str
) -> None:
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    for _ in range(2):
        stand = steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
        assert (stand.new is not None, stand.progress.phase) == (True, "created")
        progress = replace(stand.progress, phase=phase, parts=(Part("m", "f"), Part(done=True)))
        write_progress(cluster, versions[2].index_name(2), progress)
        if phase == "verified":
            steps.roll_back(cluster, steps.swap(cluster, read_stand(cluster, versions[2])))
        stand = steps.abort(cluster, read_stand(cluster, versions[2]))
        assert (stand.new, stand.served) == (None, versions[1].index_name(1))
        assert stand.old.alias == versions[1].write_alias
        assert cluster.request("GET", path(versions[2].index_name(2))).status == 404


def test_an_index_of_somebody_elses_is_never_removed(cluster: Cluster, fresh_name: str) -> None:
    versions = declare(fresh_name)
    ensure_index(cluster, versions[1])
    new = versions[2].index_name(2)
    cluster.request("PUT", path(new), body={})
    with pytest.raises(ConfigurationError, match="in the way"):
        steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
    with pytest.raises(ConfigurationError, match="in the way"):
        steps.abort(cluster, read_stand(cluster, versions[2]))
    assert cluster.request("GET", path(new)).status == 200


ALONE = Share()


class Failing:
    """Writes a few pages and no more."""

    def __init__(self, pages: int) -> None:
        self.left = pages
        self.written: list[str] = []

    def write(self, known: list[Known], *, is_new: bool) -> Written:
        if not self.left:
            raise UnavailableError("as if it had been killed")
        self.left -= 1
        self.written += [one.key["id"]["S"] for one in known]
        return Written()


def begin_copy(cluster: Cluster, versions: Mapping[int, Table[Any]], items: int) -> Progress:
    """Both indexes there, the old one with items and cut into parts."""
    old = ensure_index(cluster, versions[1])
    lines = b""
    for number in range(items):
        name = f"item-{number:03}"
        key = json.dumps({"id": {"S": name}})
        meta = {"id": name, "state": "live", "key": key, "digest": f"{number * 7919 % 1000:032}"}
        if number % 3 == 0:
            meta = {"id": name, "state": "deleted", "key": key}
        lines += orjson.dumps({"index": {"_id": name}}) + b"\n" + orjson.dumps({META: meta}) + b"\n"
    cluster.request("POST", path(old, "_bulk"), lines=lines)
    cluster.request("POST", path(old, "_refresh"))
    stand = steps.join(cluster, read_stand(cluster, versions[2]), now_ms())
    assert stand.new is not None
    parts = find_parts(cluster, old, 4)
    assert len(parts) == 4
    progress = replace(stand.progress, phase="copying", parts=parts)
    write_progress(cluster, stand.new.index, progress)
    return progress


def copy(
    cluster: Cluster, versions: Mapping[int, Table[Any]], writer: Any, share: Share = ALONE
) -> Progress:
    """Copy from where it stands, one page of 7 documents at a time."""
    old, new = (versions[n].index_name(n) for n in (1, 2))
    progress = read_stand(cluster, versions[2]).progress
    over = threading.Event()
    return Copier(
        cluster, old, new, writer, 1, now_ms, over, lambda count: None, page=7, share=share
    ).run(progress)


def test_a_copy_goes_on_behind_the_last_page_of_each_part(
    cluster: Cluster, fresh_name: str
) -> None:
    versions = declare(fresh_name)
    begin_copy(cluster, versions, 60)
    written: list[str] = []
    for _ in range(100):
        failing = Failing(2)
        try:
            done = copy(cluster, versions, failing)
            break
        except UnavailableError:
            kept = read_stand(cluster, versions[2]).progress
            assert kept.phase == "copying"
        finally:
            written += failing.written
            failing.written = []
    assert (done.phase, done.copied) == ("copied", 60)
    assert written == [f"item-{n:03}" for n in range(60)]


def test_hosts_that_share_a_copy_do_each_part_once_and_the_last_one_ends_it(
    cluster: Cluster, fresh_name: str
) -> None:
    versions = declare(fresh_name)
    began = begin_copy(cluster, versions, 60)
    first, second = Failing(100), Failing(100)
    half = copy(cluster, versions, first, Share(1, 2))
    assert (half.phase, [part.done for part in half.parts]) == ("copying", [True, False] * 2)
    # The other host read where it stood before this one ended, and overwrites what it has told.
    write_progress(cluster, versions[2].index_name(2), began)
    other = copy(cluster, versions, second, Share(2, 2))
    assert other.phase == "copying"
    whole = copy(cluster, versions, Failing(100))
    assert (whole.phase, whole.copied) == ("copied", 60)
    assert sorted(first.written + second.written) == [f"item-{n:03}" for n in range(60)]


def test_a_copy_into_an_index_that_is_rebuilt_anew_ends(cluster: Cluster, fresh_name: str) -> None:
    versions = declare(fresh_name)
    began = begin_copy(cluster, versions, 5)
    steps.abort(cluster, read_stand(cluster, versions[2]))
    steps.join(cluster, read_stand(cluster, versions[2]), now_ms() + 1)
    old, new = (versions[n].index_name(n) for n in (1, 2))
    writer: Any = Failing(9)
    copier = Copier(cluster, old, new, writer, 1, now_ms, threading.Event(), lambda count: None)
    with pytest.raises(MisuseError, match="somebody else"):
        copier.run(began)
