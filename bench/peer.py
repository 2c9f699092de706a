"""Rows of a peer: pgsync on the same posts and the same cluster, beside the pool and parallel_bulk.

Not by default: needs PostgreSQL and Redis (`apt-get install postgresql redis-server`; neither must
run), and pgsync, which gets an environment of its own in .cache/pgsync. It runs with its defaults.
Its rates are taken from the cluster's count between a tenth and nine tenths done, so its start is
not counted; ours, as everywhere, from the first message to the empty queue.
"""

import contextlib
import csv
import io
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from bench.backlog import rate_between
from bench.corpus import make_posts
from bench.figures import Aim, Row, compare
from bench.pooling import PROCESSES, Posts, drain_queue, make_references, run_parallel_bulk, warm
from bench.size import Size
from bench.stage import MissingError, Stage
from bench.tables import PROPERTIES
from console.local.process import find_free_port
from tests.polling import wait_for
from tests.services.catalogue import SERVICES
from worker.cluster import path

Command: TypeAlias = Sequence[str | Path]

ROOT: Final = Path(__file__).parents[1]
HOME: Final = ROOT / ".cache" / "pgsync"
VERSION: Final = "7.3.0"
HINT: Final = "apt-get install postgresql redis-server"
INDEX: Final = "bench-peer"
ROLE: Final = "bench"
BLOCK: Final = 500
"""Rows of one COPY, and so of one transaction."""
GREETING: Final = """
from elasticsearch.connection import Urllib3HttpConnection as Connection

_ask = Connection.perform_request
_version = '{"number": "%s", "build_flavor": "default"}'
_words = '{"version": ' + _version + ', "tagline": "You Know, for Search"}'
_headers = {"x-elastic-product": "Elasticsearch", "content-type": "application/json"}


def _perform_request(self, method, url, *rest, **more):
    if method == "GET" and url == "/":
        return 200, _headers, _words
    return _ask(self, method, url, *rest, **more)


Connection.perform_request = _perform_request
"""
"""pgsync asks for the server's greeting once, and these nodes, which are put together from Maven's
artefacts, have no part that answers it. So it is answered within pgsync's own process."""
COLUMNS: Final = {
    "id": "text primary key",
    "n": "bigint",
    "author": "text",
    "title": "text",
    "score": "double precision",
    "public": "boolean",
    "tags": "jsonb",
    "blocks": "jsonb",
}


@dataclass(frozen=True, slots=True)
class Programs:
    """What this group runs, besides the services of all."""

    postgres: Path
    """The folder of PostgreSQL's programs."""
    redis: Path
    pgsync: Path
    """The folder of pgsync's programs."""


def find_programs() -> Programs:
    """Where they are; pgsync is installed if it is not. Raises MissingError."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb = shutil.which("initdb")
    folder = Path(initdb).resolve().parent if initdb else next(iter(folders), None)
    if folder is None or not (folder / "initdb").exists():
        raise MissingError("PostgreSQL is not there", hint=HINT)
    redis = shutil.which("redis-server")
    if redis is None:
        raise MissingError("Redis is not there", hint=HINT)
    if not (HOME / "bin" / "pgsync").exists():
        install: Command = [
            HOME / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            f"pgsync=={VERSION}",
        ]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
            subprocess.run(install, check=True)
        except subprocess.CalledProcessError as error:
            hint = f"python -m venv {HOME.relative_to(ROOT)}, then pip install pgsync=={VERSION}"
            raise MissingError("pgsync cannot be installed", hint=hint) from error
    return Programs(folder, Path(redis), HOME / "bin")


def measure_peer(stage: Stage, size: Size) -> Iterator[Row]:
    """First load, then live changes; each round in a database and an index of its own."""
    programs = find_programs()
    queues = stage.make_queues()
    make_references(stage)
    rates: dict[str, list[float]] = {}
    count = size.documents // 3
    with (
        tempfile.TemporaryDirectory(prefix="sluice-peer-") as name,
        run_services(programs, Path(name)) as services,
        stage.pool(queues, PROCESSES) as pool,
    ):
        warm(stage, pool, size)
        for turn in range(size.pool_rounds):
            first = make_posts(count, prefix=f"first-{turn}")
            live = make_posts(count, prefix=f"live-{turn}")
            measured = {
                "client": run_parallel_bulk(stage, first).rate,
                "ours": drain_queue(pool, first, "INSERT").rate,
                **services.sync(stage, f"round{turn}", first, live),
                "ours live": drain_queue(pool, live, "INSERT").rate,
            }
            for side, rate in measured.items():
                rates.setdefault(side, []).append(rate)
    what = f"{count} posts of 1.1 KB"
    yield _row("first load", f"pool, new documents, {what}", rates["ours"], rates["first"], 2)
    yield _row("live", f"the same, {what} more", rates["ours live"], rates["live"], 3)
    yield _row("parallel_bulk", "parallel_bulk, the same", rates["client"], rates["first"], None)


def _row(
    name: str, what: str, ours: Sequence[float], theirs: Sequence[float], least: float | None
) -> Row:
    side = "live changes" if name == "live" else "first load"
    return compare(
        f"peer {name}",
        f"beside pgsync: {what}",
        ours,
        theirs,
        unit="documents/s",
        against=f"pgsync {VERSION}, {side}",
        aim=None if least is None else Aim("at least", least),
        note=f"{PROCESSES} processes; pgsync's defaults",
    )


@dataclass(frozen=True, slots=True)
class Services:
    """PostgreSQL and Redis, running."""

    programs: Programs
    directory: Path
    postgres_port: int
    redis_port: int

    def sync(self, stage: Stage, database: str, first: Posts, live: Posts) -> dict[str, float]:
        """Documents a second of pgsync's first load, and of its daemon afterwards."""
        self.run_sql("postgres", f"create database {database};")
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        self.run_sql(database, f"create table posts ({columns});")
        self.copy(database, first)
        stage.remove_index(INDEX)
        stage.cluster.request("PUT", path(INDEX), body={"mappings": {"properties": PROPERTIES}})
        schema = self.directory / f"{database}.json"
        nodes = {"table": "posts", "columns": list(COLUMNS)}
        schema.write_text(json.dumps([{"database": database, "index": INDEX, "nodes": nodes}]))
        told = self.environment(stage)
        log = (self.directory / f"{database}.log").open("w")
        with log:
            self.run([self.programs.pgsync / "bootstrap", "-c", schema], told)
            daemon = subprocess.Popen(
                [self.programs.pgsync / "pgsync", "-c", schema, "--daemon"],
                env=told,
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                loaded = self.watch(stage, daemon, len(first))
                self.copy(database, live)
                followed = self.watch(stage, daemon, len(first) + len(live), len(first))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(daemon.pid, signal.SIGTERM)
                daemon.wait(30)
            self.run([self.programs.pgsync / "bootstrap", "-c", schema, "--teardown"], told)
        return {"first": loaded, "live": followed}

    def watch(
        self, stage: Stage, daemon: "subprocess.Popen[bytes]", count: int, base: int = 0
    ) -> float:
        """The rate at which the index comes from `base` to `count` documents."""
        looks: list[tuple[float, int]] = [(time.perf_counter(), base)]

        def is_there() -> bool:
            if daemon.poll() is not None:
                raise RuntimeError(f"pgsync ended by itself: exit {daemon.returncode}")
            answer = stage.cluster.request("GET", path(INDEX, "_stats", "indexing"))
            done = answer.body["_all"]["primaries"]["indexing"]["index_total"]
            looks.append((time.perf_counter(), done))
            return bool(done >= count)

        wait_for("pgsync", is_there, seconds=600, every=0.05)
        return rate_between(looks)

    def environment(self, stage: Stage) -> dict[str, str]:
        """What pgsync is told: where everything is, and nothing else."""
        return {
            **os.environ,
            "PG_HOST": "127.0.0.1",
            "PG_PORT": str(self.postgres_port),
            "PG_USER": ROLE,
            "PG_PASSWORD": ROLE,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.redis_port),
            "ELASTICSEARCH": "true",
            "ELASTICSEARCH_URL": stage.search,
            "CHECKPOINT_PATH": str(self.directory),
            "PYTHONPATH": str(self.greet()),
        }

    def greet(self) -> Path:
        """A folder that Python looks into as pgsync starts."""
        folder = self.directory / "greeting"
        folder.mkdir(exist_ok=True)
        greeting = GREETING % SERVICES["elasticsearch-8"].version
        (folder / "sitecustomize.py").write_text(greeting)
        return folder

    def run_sql(self, database: str, script: str) -> None:
        """Run a script, each statement a transaction of its own."""
        address = f"postgresql://{ROLE}@127.0.0.1:{self.postgres_port}/{database}"
        psql: Command = [self.programs.postgres / "psql", "-q", "-v", "ON_ERROR_STOP=1", address]
        subprocess.run([*psql, "-f", "-"], input=script, check=True, text=True)

    def copy(self, database: str, posts: Posts) -> None:
        """Insert posts, a block in a transaction, as fast as PostgreSQL takes them."""
        script = io.StringIO()
        writer = csv.writer(script, lineterminator="\n")
        for start in range(0, len(posts), BLOCK):
            script.write("copy posts from stdin with (format csv);\n")
            block = posts[start : start + BLOCK]
            writer.writerows([_cell(post[name]) for name in COLUMNS] for post in block)
            script.write("\\.\n")
        self.run_sql(database, script.getvalue())

    def run(self, command: Command, told: Mapping[str, str]) -> None:
        """One of pgsync's commands, to its end."""
        done = subprocess.run(
            command, env=told, cwd=self.directory, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


@contextmanager
def run_services(programs: Programs, directory: Path) -> Iterator[Services]:
    """PostgreSQL with logical replication, and Redis, on free ports of this machine."""
    user = find_user()
    data = directory / "postgres"
    data.mkdir()
    directory.chmod(0o755)
    if user is not None:
        shutil.chown(data, user)
    options: dict[str, Any] = {} if user is None else {"user": user, "extra_groups": []}
    initdb: Command = [
        programs.postgres / "initdb",
        "-D",
        data,
        "-U",
        ROLE,
        "--auth=trust",
        "-E",
        "UTF8",
    ]
    subprocess.run(initdb, check=True, cwd=data, stdout=subprocess.DEVNULL, **options)
    services = Services(programs, directory, find_free_port(), find_free_port())
    set_to = {
        "port": services.postgres_port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(data),
        "wal_level": "logical",
    }
    settings = [part for name, value in set_to.items() for part in ("-c", f"{name}={value}")]
    redis: Command = [
        programs.redis,
        "--port",
        str(services.redis_port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
    ]
    server: Command = [programs.postgres / "postgres", "-D", data, *settings]
    with (
        _running(server, data, **options),
        _running(redis, directory),
    ):
        ready: Command = [programs.postgres / "pg_isready", "-q", "-h", "127.0.0.1"]
        wait_for("PostgreSQL", lambda: _succeeds([*ready, "-p", str(services.postgres_port)]))
        yield services


def find_user() -> str | None:
    """Whom PostgreSQL runs as: it refuses to be root. None: whoever we are."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in names), None)
    if user is None:
        raise MissingError("PostgreSQL does not run as root", hint="run this as another user")
    return user


@contextmanager
def _running(command: Command, directory: Path, **options: Any) -> Iterator[None]:
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=subprocess.STDOUT, **options
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            process.wait(60)


def _succeeds(command: Command) -> bool:
    return subprocess.run(command, check=False).returncode == 0
