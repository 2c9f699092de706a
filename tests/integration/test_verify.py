"""Verify finds each kind of difference and no other; repair mends exactly those."""

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import Fault, proxying
from tests.polling import wait_for
from tests.upkeep.pipeline import HEAVY, LIGHT, Run, beside, polling
from worker.mappings import META
from worker.tables import Table

pytestmark = pytest.mark.services

QUICK = ("--settle", "0.5", "--patience", "20", "--segments", "3")


def fill(run: Run, table: Table[Any], *items: dict[str, Any]) -> None:
    """A table whose index is equal to it."""
    run.create(table)
    run.put(table, *items)
    assert run.sluice("backfill", table.name)[0] == 0
    if not run.workers.running:
        run.workers.start()
    run.drain()


def tamper(run: Run) -> dict[str, str]:
    """One difference of each kind; answers the kinds by id."""
    table = run.shown

    def change(name: str, **meta: Any) -> None:
        body = run.document(table, name, routing="ann")["_source"]
        body[META] = {**body[META], **meta}
        run.write(table, name, body, routing="ann")

    run.remove(table, "i1|ann", routing="ann")
    change("i2|ann", digest="0" * 32)
    change("i3|ann", state="hidden")
    change("i4|ann", state="live")
    run.write(table, "i5|ann", {"title": "by hand"}, routing="ann")
    change("i6|ann", state="deleted")
    run.resource.Table(table.name).delete_item(Key={"owner": "ann", "id": "i7"})
    copy = run.document(table, "i8|ann", routing="ann")["_source"]
    run.write(table, "copy", copy, routing="ann")
    run.write(table, "by hand", {"title": "nobody's"})
    change("i9|ann", key='{"id":{"S":"elsewhere"}}')
    return {
        "i1|ann": "missing",
        "i2|ann": "stale",
        "i3|ann": "hidden",
        "i4|ann": "shown",
        "i5|ann": "stale",
        "i6|ann": "missing",
        "i7|ann": "left over",
        "copy": "left over",
        "by hand": "left over",
        "i9|ann": "stale",
    }


@HEAVY
def test_each_kind_of_difference_is_found_and_repair_mends_exactly_those(
    run: Run, tmp_path: Path
) -> None:
    items = [{"owner": "ann", "id": f"i{n}", "secret": n in (4, 14)} for n in range(30)]
    fill(run, run.shown, *items)
    assert run.sluice_json("verify", run.shown.name, *QUICK)["agrees"]

    wanted = tamper(run)
    keys = tmp_path / "keys"
    found = run.sluice_json("verify", run.shown.name, *QUICK, "--keys", str(keys), code=1)
    lines = [json.loads(line) for line in keys.read_text().splitlines()]
    assert {line["id"]: line["kind"] for line in lines} == wanted
    assert sum(found["differences"].values()) == len(wanted)
    assert (found["moving"], found["undecided"]) == (0, 0)

    untouched = {
        f"i{n}|ann": run.document(run.shown, f"i{n}|ann", routing="ann")["_seq_no"]
        for n in range(10, 30)
    }
    mended = run.sluice_json("repair", run.shown.name, "--keys", str(keys), *QUICK)
    assert (mended["found"], mended["mended"], mended["left"]) == (10, 10, 0)
    assert (mended["sent"], mended["removed"]) == (8, 2)
    for name, seq_no in untouched.items():
        assert run.document(run.shown, name, routing="ann")["_seq_no"] == seq_no
    assert run.differences(run.shown) == {}
    assert run.sluice_json("verify", run.shown.name, *QUICK)["agrees"]
    again = [
        run.sluice_json("repair", run.shown.name, "--keys", str(keys), *QUICK, "--share", f"{k}/2")
        for k in (1, 2)
    ]
    assert [(half["agreed"], half["sent"]) for half in again] == [(5, 0), (5, 0)]


@LIGHT
def test_live_traffic_gives_no_false_alarm_nor_keeps_verify_and_repair_from_their_end(
    run: Run, tmp_path: Path
) -> None:
    run.workers.start(SLUICE_STATE_S="1")
    fill(run, run.items, *({"id": f"item-{n}", "title": f"old {n}"} for n in range(200)))
    trigger = run.follow(run.stream(run.items, on=True), timely=True)
    run.remove(run.items, "item-199")
    # As a busy queue, it never is empty.
    run.queues.client.send_message(
        QueueUrl=run.queues.url, MessageBody="for later", DelaySeconds=900
    )

    def edit(stop: threading.Event) -> None:
        rng = random.Random(threading.get_ident())
        name = run.items.name
        while not stop.wait(0.02):
            key = {"id": {"S": f"item-{rng.randrange(150)}"}}
            if rng.random() < 0.3:
                run.dynamodb.delete_item(TableName=name, Key=key)
            else:
                title = {"S": f"edited {rng.random()}"}
                run.dynamodb.put_item(TableName=name, Item={**key, "title": title})

    keys = tmp_path / "keys"
    with polling(trigger), beside(edit, threads=2):
        wait_for("live changes", lambda: trigger.counters.read > 20)
        verify = ("verify", run.items.name, "--settle", "2", "--patience", "120")
        found = run.sluice_json(*verify, "--keys", str(keys), code=1)
        assert (found["differences"], found["undecided"]) == ({"missing": 1}, 0), found
        assert [finding["id"] for finding in found["findings"]] == ["item-199"]
        assert found["items"] > 50
        patience = ("--patience", "120")
        mended = run.sluice_json("repair", run.items.name, "--keys", str(keys), *patience)
        assert (mended["mended"], mended["left"], mended["late"]) == (1, 0, False), mended
        found = run.sluice_json(*verify)
        assert (found["differences"], found["undecided"]) == ({}, 0), found
    assert run.failures == []


@LIGHT
def test_a_backlog_is_not_called_a_difference(run: Run) -> None:
    fill(run, run.items, *({"id": f"item-{n}"} for n in range(20)))
    for worker in list(run.workers.running):
        run.workers.kill(worker)
    trigger = run.follow(run.stream(run.items, on=True))
    run.put(run.items, {"id": "new"}, {"id": "item-3", "title": "changed"})
    for _ in range(3):
        trigger.poll_once()
    patience = ("--settle", "0", "--patience", "1")
    found = run.sluice_json("verify", run.items.name, *patience, code=1)
    assert (found["differences"], found["undecided"]) == ({}, 2)
    run.workers.start()
    run.drain(trigger)
    assert run.sluice_json("verify", run.items.name, *QUICK)["agrees"]


@LIGHT
def test_an_edit_by_hand_that_keeps_our_object_is_found_by_content(run: Run) -> None:
    fill(run, run.items, *({"id": f"item-{n}", "n": n, "set": {"b", "a"}} for n in range(12)))
    body = run.document(run.items, "item-5")["_source"]
    run.write(run.items, "item-5", {**body, "n": 6})
    assert run.sluice_json("verify", run.items.name, *QUICK)["agrees"]
    found = run.sluice_json("verify", run.items.name, *QUICK, "--content", code=1)
    assert found["differences"] == {"edited": 1}
    mended = run.sluice_json("repair", run.items.name, *QUICK, "--content")
    assert (mended["found"], mended["mended"]) == (1, 1)
    assert run.differences(run.items) == {}


@LIGHT
def test_a_sample_states_what_it_allows(run: Run) -> None:
    fill(run, run.items, *({"id": f"item-{n}"} for n in range(400)))
    found = run.sluice_json("verify", run.items.name, *QUICK, "--sample", "100")
    assert 100 <= found["items"] < 300
    assert found["documents"] >= 100
    assert 0 < found["sample"]["items_wrong_at_most"] <= 0.03
    assert found["noted"] is False
    run.write(run.items, "by hand", {"title": "nobody's"})
    found = run.sluice_json("verify", run.items.name, *QUICK, "--sample", "3000", code=1)
    assert (found["items"], found["documents"]) == (400, 401)
    assert found["differences"] == {"left over": 1}


@LIGHT
def test_what_was_edited_where_no_worker_looks_is_found(run: Run) -> None:
    fill(run, run.items, *({"id": f"item-{n}"} for n in range(9)))
    for name, mark in (("item-1", ""), ("item-2", "g"), ("item-3", "zz")):
        body = run.document(run.items, name)["_source"]
        body[META] = {**body[META], "digest": mark}
        run.write(run.items, name, body)
        run.resource.Table(run.items.name).delete_item(Key={"id": name})
    found = run.sluice_json("verify", run.items.name, *QUICK, code=1)
    assert found["differences"] == {"left over": 3}
    assert run.sluice_json("repair", run.items.name, *QUICK)["mended"] == 3
    index = run.items.index_name(run.items.version)
    bare = {"actions": [{"add": {"index": index, "alias": run.items.alias}}]}
    assert run.cluster.request("POST", "/_aliases", body=bare).status == 200
    code, out, _ = run.sluice("verify", run.items.name, *QUICK)
    assert (code, "RED  the alias" in out) == (1, True)
    _, _, remedy = out.partition("POST /_aliases ")
    body = json.loads(remedy.splitlines()[0])
    assert run.cluster.request("POST", "/_aliases", body=body).status == 200
    found = run.sluice_json("verify", run.items.name, *QUICK)
    assert (found["alias"], found["noted"]) == (None, True)


@LIGHT
def test_hosts_share_the_comparison_and_a_checkpoint_resumes_it(run: Run, tmp_path: Path) -> None:
    fill(run, run.items, *({"id": f"item-{n}"} for n in range(90)))
    run.remove(run.items, "item-7")
    run.resource.Table(run.items.name).delete_item(Key={"id": "item-8"})
    halves = [
        run.sluice("verify", run.items.name, *QUICK, "--share", f"{k}/2", "--json") for k in (1, 2)
    ]
    answers = [json.loads(out) for _, out, _ in halves]
    assert sum(answer["items"] for answer in answers) == 89
    assert sum(answer["documents"] for answer in answers) == 89
    kinds = [kind for answer in answers for kind in answer["differences"]]
    assert sorted(kinds) == ["left over", "missing"]

    place = tmp_path / "verify"
    command = ("verify", run.items.name, "--segments", "3", "--checkpoint", str(place))
    process = run.spawn(*command, "--settle", "600")
    try:
        wait_for("the comparison to be done", (tmp_path / "verify.found").exists, seconds=150)
        wait_for(
            "both to be found", lambda: (tmp_path / "verify.found").read_text().count("\n") == 2
        )
    finally:
        process.kill()
        process.communicate(timeout=20)
    found = run.sluice_json(*command, "--settle", "0.5", code=1)
    assert found["differences"] == {"left over": 1, "missing": 1}
    assert found["items"] == 89
    assert list(tmp_path.glob("verify*")) == []


@LIGHT
def test_a_file_of_keys_that_cannot_be_used_is_a_clear_error(run: Run, tmp_path: Path) -> None:
    fill(run, run.items, {"id": "a"})
    fill(run, run.shown, {"owner": "ann", "id": "a"})
    file = tmp_path / "keys"
    lines = {
        "no line": "[]",
        "of the table": json.dumps({"table": run.shown.name, "id": "a|ann", "kind": "missing"}),
        "unknown kind": json.dumps({"table": run.items.name, "id": "a", "kind": "odd"}),
        "Expecting value": "no json",
    }
    for words, line in lines.items():
        file.write_text(line + "\n")
        code, _, err = run.sluice("repair", run.items.name, "--keys", str(file))
        assert (code, words in err, "line 1" in err) == (2, True, True), err
    code, _, err = run.sluice("verify", "nothing")
    assert (code, "no table 'nothing'" in err) == (2, True)


@LIGHT
def test_a_cluster_that_is_busy_for_a_moment_ends_no_verify(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, run.items, *({"id": f"i{n}"} for n in range(40)))
    with proxying(run.environment["SLUICE_ELASTICSEARCH_URL"]) as proxy:
        monkeypatch.setenv("SLUICE_ELASTICSEARCH_URL", proxy.url)
        proxy.set(Fault("status", 429, path="_mget|_search"))

        def mend(stop: threading.Event) -> None:
            wait_for("requests to meet the fault", lambda: proxy.seen["status"] >= 3)
            proxy.set(None)

        with beside(mend, threads=1):
            found = run.sluice_json("verify", run.items.name, *QUICK)
    assert found["agrees"]
    assert found["items"] == found["documents"] == 40
    assert proxy.seen["status"] >= 3
