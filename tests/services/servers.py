"""Starting the real services; each returns once it answers and ends with its owner."""

import json
from pathlib import Path
from typing import Literal

from console.local.process import HOST, Recipe, find_free_port, start
from console.local.services import Service
from tests.services.artefacts import prepare, require_java
from tests.services.catalogue import SERVICES, Artefact

START_DEADLINE_S = 120.0
# The part of ElasticMQ's configuration that both ways of running it share.
# Account and region are the fake ones that the tests use.
ELASTICMQ = """\
include classpath("application.conf")
node-address {{ protocol = http, host = "{host}", port = {port}, context-path = "" }}
rest-sqs {{
  enabled = true, bind-hostname = "{host}", bind-port = {port}, sqs-limits = {limits}
}}
rest-stats.enabled = false
aws {{ region = us-east-1, accountId = "000000000000" }}
"""
ELASTICMQ_STORAGE = """\
messages-storage {{
  enabled = true, driver-class-name = "org.h2.Driver", uri = {messages}
  username = "", password = "", prune-data-on-init = false
}}
"""


def start_dynamodb_local(directory: Path, *, port: int | None = None) -> Service:
    """Start DynamoDB Local, its tables in memory and its log in `directory`.

    Raises ServiceMissingError without Java or Maven, ServiceFailedError when it does not come up.
    """
    artefact = SERVICES["dynamodb-local"]
    home = prepare(artefact)
    java = build_java(artefact, directory, heap="256m")
    classes = f"{home / 'launcher'}:{home / 'lib'}/*"
    native = f"-Dsqlite4java.library.path={home / 'lib'}"

    def build_command(port: int) -> list[str]:
        # It reports its use to AWS unless told not to.
        options = ["-inMemory", "-disableTelemetry", "-port", str(port)]
        return [*java, native, "-cp", classes, "Launcher", HOST, *options]

    # It answers an unsigned request with 400.
    recipe = Recipe(artefact.name, build_command, "/", 400, START_DEADLINE_S)
    return start(recipe, directory, port)


def start_elasticmq(
    directory: Path,
    *,
    persistent: bool = False,
    strict: bool = True,
    heap: str = "256m",
    port: int | None = None,
) -> Service:
    """Start ElasticMQ with the limits of SQS and no queues; its log lies in `directory`.

    `strict` means the 256 KiB that SQS once took; else a message may have what SQS takes now, and
    more: there is nothing between them. `persistent` keeps queues and messages in `directory` for
    the next start. A message that was deleted stays in the heap until its visibility timeout is
    over. Raises ServiceMissingError without Java or Maven, ServiceFailedError when it does not come
    up.
    """
    artefact = SERVICES["elasticmq"]
    home = prepare(artefact)
    java = build_java(artefact, directory, heap=heap)
    config = directory / "elasticmq.conf"

    def build_command(port: int) -> list[str]:
        config.write_text(
            build_elasticmq_config(directory, port, persistent=persistent, strict=strict)
        )
        main = "org.elasticmq.server.Main"
        return [*java, f"-Dconfig.file={config}", "-cp", f"{home / 'lib'}/*", main]

    ready = "/?Action=ListQueues"
    recipe = Recipe(artefact.name, build_command, ready, deadline_s=START_DEADLINE_S)
    return start(recipe, directory, port)


def start_elasticsearch(
    version: Literal[8, 9],
    directory: Path,
    *,
    heap: str = "512m",
    full_speed: bool = False,
    port: int | None = None,
) -> Service:
    """Start one Elasticsearch node, its data and log in `directory`.

    A start on the directory of an earlier node recovers its data, also after a kill. `full_speed`
    is for benchmarks: Java then optimises as it does in production, and a start costs twice the
    processor time. Raises ServiceMissingError without Java or Maven, ServiceFailedError when it
    does not come up.
    """
    artefact = SERVICES[f"elasticsearch-{version}"]
    home = prepare(artefact)
    java = build_java(artefact, directory, heap=heap)
    compiler = [] if full_speed else ["-XX:TieredStopAtLevel=1"]

    def build_command(port: int) -> list[str]:
        settings = build_elasticsearch_settings(home, directory, port, find_free_port())
        modules = ["--module-path", str(home / "lib"), "--add-modules"]
        return [
            *java,
            *compiler,
            "-Des.nativelibs.path=",
            *modules,
            "org.elasticsearch.server",
            "--add-modules",
            "ALL-MODULE-PATH",
            "-cp",
            str(home / "launcher"),
            "Launcher",
            *(f"{name}={value}" for name, value in settings.items()),
        ]

    ready = "/_cluster/health?wait_for_status=yellow&timeout=1s"
    recipe = Recipe(artefact.name, build_command, ready, deadline_s=START_DEADLINE_S)
    return start(recipe, directory, port)


def build_java(artefact: Artefact, directory: Path, heap: str) -> list[str]:
    """The `java` command with a fixed heap, all its scratch files in `directory`."""
    scratch = directory / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    options = [f"-Xms{heap}", f"-Xmx{heap}", f"-Djava.io.tmpdir={scratch}"]
    return [
        str(require_java(artefact).java),
        *options,
        "-XX:-UsePerfData",  # else a file per process in the system's temporary folder
        f"-XX:ErrorFile={directory / 'java-error.log'}",
    ]


def build_elasticmq_config(
    directory: Path, port: int, *, persistent: bool, strict: bool = True
) -> str:
    """The text of ElasticMQ's configuration file."""
    text = ELASTICMQ.format(host=HOST, port=port, limits="strict" if strict else "relaxed")
    if not persistent:
        return text
    return text + ELASTICMQ_STORAGE.format(
        # H2 writes half a second later unless told not to: a kill would lose what was accepted.
        messages=json.dumps(f"jdbc:h2:{directory.resolve() / 'messages'};WRITE_DELAY=0"),
    )


def build_elasticsearch_settings(
    home: Path, directory: Path, port: int, transport_port: int
) -> dict[str, str]:
    """The settings of a single node on loopback that keeps its data in `directory`."""
    return {
        "path.home": str(home),
        "path.data": str(directory / "data"),
        "path.logs": str(directory / "logs"),
        "cluster.name": "sluice-test",
        "node.name": "sluice-test",
        "discovery.type": "single-node",
        "network.host": HOST,
        "http.port": str(port),
        "transport.port": str(transport_port),
        # A developer's disk that is nearly full must not turn the indices read-only.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }
