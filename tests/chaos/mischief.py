"""Faults, one at a time or several at once, in an order that a seed decides."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from console.deadletters.model import MAX_RECEIVES
from producer.contract import write_envelope
from tests.faults.proxy import Fault, Proxy
from tests.polling import wait_for
from tests.workers import ROOT, Queues, Workers
from worker.cluster import Cluster, path
from worker.schema import alias_body
from worker.tables import Table

PROXY_FAULTS = (
    Fault("hang"),
    Fault("reset"),
    Fault("reset after"),
    Fault("delay", seconds=1.5),
    Fault("status", status=503),
    Fault("status", status=429),
    Fault("status", status=500),
)
BULK_FAULTS = (
    Fault("partial", status=429),
    Fault("partial", status=503),
    Fault("reset after", path="_bulk"),
    Fault("status", status=503, path="_mget"),
)


def write_malformed(mark: str) -> tuple[str, ...]:
    """Bodies that stand for no call, whoever reads them; each leads to its mark."""
    return (
        f"no message at all {mark}",
        json.dumps({"body": 5, "mark": mark}),
        write_envelope("1:!!!", "queue", id=mark),
        write_envelope("9:AAAA", "queue", id=mark),
        write_envelope("1:" + "A" * 500, "queue", id=mark),
        write_envelope("1:AAAA", "queue", task="celery.chain", id=mark),
    )


UNDECODABLE = "UndecodableMessage"


@dataclass
class Mischief:
    """What breaks the pipeline. Each fault is over when its call returns, or is healed later.

    Which faults, in which order and for how long, is a matter of the seed alone: it is drawn from
    `rng`, the same number of times whatever the pipeline does. Whom a fault hits depends on who is
    there, and is drawn from a source of its own (`lot`).
    """

    seed: int
    cluster_proxy: Proxy
    queue_proxy: Proxy
    bucket_proxy: Proxy
    cluster: Cluster
    table: Table[Any]
    queues: Queues
    workers: Workers
    environment: Mapping[str, str]
    """What an operator's command is told."""
    bodies: list[str]
    """Messages sent so far, to be repeated."""
    stop: threading.Event
    done: Counter[str] = field(default_factory=Counter)
    marks: list[str] = field(default_factory=list)
    """One in each malformed message that was sent."""
    given_up: int = 0
    """Dead letters without a reason: SQS itself moved the message."""
    exits: int = 0
    """Workers that ended though nobody told them to."""
    log: Callable[[str], None] = print
    step: int = 0

    def __post_init__(self) -> None:
        self.index = self.table.index_name(1)
        self.rng = random.Random(self.seed)
        self.lot = random.Random(f"{self.seed}-0")

    def run(self) -> None:
        """Make mischief until told to stop; the last fault is healed."""
        while not self.stop.is_set():
            self.act()
            self.stop.wait(self.rng.uniform(0.5, 3.0))

    def act(self) -> None:
        """One fault, from its beginning to its end."""
        acts = (
            self.break_cluster,
            self.break_cluster,
            self.break_bulks,
            self.cut_cluster,
            self.flap_cluster,
            self.block_index,
            self.lose_aliases,
            self.redden_index,
            self.refuse_everything,
            self.break_queue,
            self.cut_queue,
            self.break_bucket,
            self.kill_worker,
            self.kill_child,
            self.hang_child,
            self.drain_worker,
            self.freeze_worker,
            self.send_malformed,
            self.repeat_messages,
            self.repeat_messages,
            self.redrive,
        )
        self.step += 1
        self.lot = random.Random(f"{self.seed}-{self.step}")
        self.rng.choice(acts)()

    def note(self, what: str) -> None:
        self.done[what] += 1
        self.log(what)

    def wait(self, low: float = 1.0, high: float = 8.0) -> None:
        self.stop.wait(self.rng.uniform(low, high))

    def break_cluster(self) -> None:
        self._break(self.cluster_proxy, self.rng.choice(PROXY_FAULTS), "cluster")

    def break_bulks(self) -> None:
        self._break(self.cluster_proxy, self.rng.choice(BULK_FAULTS), "cluster")

    def break_queue(self) -> None:
        fault = self.rng.choice((*PROXY_FAULTS, Fault("status", status=400), Fault("status", 403)))
        self._break(self.queue_proxy, fault, "queue")

    def break_bucket(self) -> None:
        self._break(self.bucket_proxy, self.rng.choice(PROXY_FAULTS), "bucket")

    def _break(self, proxy: Proxy, fault: Fault, name: str) -> None:
        self.note(f"{name}: {fault.kind}{f' {fault.status}' if 'at' in fault.kind else ''}")
        with proxy.broken(fault):
            self.wait()

    def cut_cluster(self) -> None:
        self.note("cluster: down")
        with self.cluster_proxy.down():
            self.wait()

    def cut_queue(self) -> None:
        self.note("queue: down")
        with self.queue_proxy.down():
            self.wait()

    def flap_cluster(self) -> None:
        self.note("cluster: flapping")
        self.cluster_proxy.flap(self.rng.uniform(4, 12), self.rng.uniform(0.5, 2))

    def block_index(self) -> None:
        """What the flood stage of a full disk does."""
        self.note("cluster: index read-only")
        self._set_block(True)
        self.wait()
        self._set_block(None)

    def _set_block(self, value: bool | None) -> None:
        settings = {"index.blocks.read_only_allow_delete": value}
        self._tell("PUT", path(self.index, "_settings"), settings)

    def lose_aliases(self) -> None:
        """What an operator's slip does. A worker that starts meanwhile would rightly not."""
        self.note("cluster: aliases missing")
        self._wait_for_workers()
        names = (self.table.alias, self.table.write_alias)
        gone = [{"remove": {"index": self.index, "alias": name}} for name in names]
        self._tell("POST", path("_aliases"), {"actions": gone})
        self.wait()
        bodies = (alias_body(), {"is_write_index": True})
        back = [
            {"add": {"index": self.index, "alias": name, **body}}
            for name, body in zip(names, bodies, strict=True)
        ]
        self._tell("POST", path("_aliases"), {"actions": back})

    def redden_index(self) -> None:
        """What the loss of a node does where there are no replicas."""
        self.note("cluster: index red")
        self._wait_for_workers()
        self._place_shards("no-such-node")
        self.wait()
        self._place_shards(None)

    def _place_shards(self, node: str | None) -> None:
        """On a node of this name alone; a shard that is open stays where it is."""
        self._tell("POST", path(self.index, "_close"))
        allocation = {"index.routing.allocation.require._name": node}
        self._tell("PUT", path(self.index, "_settings"), allocation)
        self._tell("POST", path(self.index, "_open"), wait_for_active_shards="0")

    def refuse_everything(self) -> None:
        """What a bad deploy does: the valve must shut, and open when things are better."""
        self.note("cluster: refuses every document")
        with self.cluster_proxy.broken(Fault("partial", status=400, ids=".")):
            self.wait(3, 8)

    def _tell(self, method: str, where: str, body: object = None, **params: str) -> None:
        answer = self.cluster.request(method, where, params=params, body=body)
        assert answer.status == 200, answer

    def _wait_for_workers(self) -> None:
        """Until all of them have looked at the index and take messages."""
        self.count_exits()
        wait_for("workers to be ready", self.workers.are_ready)

    def kill_worker(self) -> None:
        self.note("worker: SIGKILL")
        self.workers.kill(self._pick_worker())
        self.workers.start()

    def kill_child(self) -> None:
        self.note("worker: child SIGKILL")
        self._signal_child(signal.SIGKILL)

    def hang_child(self) -> None:
        """Until its worker cuts it: it runs no instruction again."""
        self.note("worker: child hung")
        self._signal_child(signal.SIGSTOP)

    def drain_worker(self) -> None:
        """What a deploy does, to a worker that has begun: one that has not ends as it may."""
        self.note("worker: SIGTERM")
        self._wait_for_workers()
        victim = self._pick_worker()
        self.workers.start()
        victim.terminate()
        self.workers.drop(victim)

    def freeze_worker(self) -> None:
        self.note("worker: frozen")
        victim = self._pick_worker()
        with suppress(ProcessLookupError):
            os.killpg(victim.pid, signal.SIGSTOP)
        self.wait(2, 6)
        with suppress(ProcessLookupError):
            os.killpg(victim.pid, signal.SIGCONT)

    def count_exits(self) -> None:
        """Count, and replace, those that ended by themselves."""
        for process in list(self.workers.running):
            if process.poll() is not None:
                self.exits += 1
                self.log(f"a worker ended by itself with {process.returncode}")
                self.workers.drop(process)
                self.workers.start()

    def _pick_worker(self) -> "subprocess.Popen[bytes]":
        self.count_exits()
        return self.lot.choice(self.workers.running)

    def _signal_child(self, number: int) -> None:
        with suppress(psutil.Error):
            victim = psutil.Process(self._pick_worker().pid)
            children = [c for c in victim.children() if c.name().startswith("python")]
            if children:
                self.lot.choice(children).send_signal(number)

    def send_malformed(self) -> None:
        """What nobody should send; each must be found among the dead letters in the end."""
        self.note("malformed messages")
        for place in range(len(write_malformed(""))):
            mark = f"{self.lot.getrandbits(64):016x}"
            self.marks.append(mark)
            body = write_malformed(mark)[place]
            self.queues.client.send_message(QueueUrl=self.queues.url, MessageBody=body)

    def repeat_messages(self) -> None:
        bodies = self.lot.sample(self.bodies, min(len(self.bodies), 20))
        self.note("messages repeated")
        for body in bodies:
            self.queues.client.send_message(QueueUrl=self.queues.url, MessageBody=body)

    def redrive(self) -> None:
        """Look at what waits, and put back what may be applied by now: by the commands that an
        operator has. What nobody can read stays: one message of it in each trial of the valve
        would keep it shut."""
        self.note("dead letters redriven")
        groups = self._command("groups")["groups"]
        self._count(groups)
        errors = {group["error"] for group in groups} - {UNDECODABLE}
        if errors:
            chosen = [part for error in sorted(errors) for part in ("--error", error)]
            self._command("redrive", *chosen)

    def look(self) -> int:
        """How many dead letters wait with a reason, malformed messages left out."""
        return self._count(self._command("groups")["groups"])

    def _count(self, groups: Any) -> int:
        self.given_up += sum(g["count"] for g in groups if g["error"] == MAX_RECEIVES)
        return sum(g["count"] for g in groups if g["error"] not in (MAX_RECEIVES, UNDECODABLE))

    def _command(self, name: str, *arguments: str) -> Any:
        """What `sluice dead-letters NAME` says. It may have seen a part only, which is no fault."""
        done = subprocess.run(
            [sys.executable, "-m", "console", "dead-letters", name, *arguments, "--json"],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 1), (name, done.stdout[-500:], done.stderr[-2000:])
        return json.loads(done.stdout)
