"""Every service starts, answers, keeps to loopback, and never outlives what started it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import boto3
import psutil
import pytest

from console.local.process import (
    HOST,
    PORT_TRIES,
    PortTakenError,
    Recipe,
    Service,
    answers,
    find_free_port,
    start,
)
from console.local.services import ServiceFailedError, start_moto, start_osmem
from tests.services import start_dynamodb_local, start_elasticmq, start_elasticsearch
from tests.services.engines import Engine, require

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0
STARTERS: dict[str, Callable[..., Service]] = {
    "moto": start_moto,
    "osmem": start_osmem,
    "dynamodb-local": start_dynamodb_local,
    "elasticmq": start_elasticmq,
    "elasticsearch-8": partial(start_elasticsearch, 8),
    "elasticsearch-9": partial(start_elasticsearch, 9),
}
EMBEDDED = ("moto", "osmem")
# What Java servers print: the reason first, then a trace longer than the lines of a report.
TAKEN = "print('Address already in use' + 50 * '\\n\\tat java.net.bind'); raise SystemExit(1)"
OWNER = """
import signal, sys
from pathlib import Path
from tests.integration.test_services import STARTERS
service = STARTERS[sys.argv[1]](Path(sys.argv[2]))
print(service.pid, flush=True)
signal.pause()
"""
PREPARE = """
from tests.services.artefacts import prepare
from tests.services.catalogue import SERVICES
print(prepare(SERVICES["elasticmq"]))
"""
WITHOUT_PACKAGES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from console.local import services
getattr(services, sys.argv[2])(Path(sys.argv[3]))
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until the condition holds; fail after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_S:.0f} s"
        time.sleep(0.05)


def list_group(group: int) -> list[int]:
    """The live processes of a process group: a server, its watcher, and what it forked."""
    members = []
    for process in psutil.process_iter(["status"]):
        try:
            member = os.getpgid(process.pid) == group
        except ProcessLookupError:
            continue
        # An orphan's entry stays until the machine's first process reaps it.
        if member and process.info["status"] != psutil.STATUS_ZOMBIE:
            members.append(process.pid)
    return members


def list_listening(group: int) -> set[str]:
    """The addresses on which a process group listens."""
    return {
        connection.laddr.ip.removeprefix("::ffff:")
        for pid in list_group(group)
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


def call(service: Service, method: str, path: str, body: str = "") -> tuple[int, str]:
    """Send one request with a JSON body; the answer's status and text."""
    connection = http.client.HTTPConnection(HOST, urlsplit(service.url).port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture(params=list(STARTERS))
def name(request: pytest.FixtureRequest) -> str:
    """Each service, the real ones where they can run."""
    service: str = request.param
    if service not in EMBEDDED:
        require(service, os.environ)
    return service


def test_a_service_keeps_to_loopback_and_leaves_no_process_behind(
    name: str, tmp_path: Path
) -> None:
    with STARTERS[name](tmp_path) as service:
        assert service.is_running()
        assert service.log.parent == tmp_path
        assert list_listening(service.pid) == {HOST}
    assert not service.is_running()
    wait_until(lambda: not list_group(service.pid), "the process group is empty")
    service.stop()


def test_ctrl_c_in_the_terminal_does_not_reach_a_service(tmp_path: Path) -> None:
    with start_osmem(tmp_path) as service:
        assert os.getpgid(service.pid) == service.pid != os.getpgrp()


def test_a_service_dies_with_an_owner_that_is_killed(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, name, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        group = int(owner.stdout.readline())
        assert list_group(group)
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not list_group(group), f"{name} is gone")


def test_a_service_dies_with_its_owner_though_a_fork_of_the_owner_lives_on(tmp_path: Path) -> None:
    # The fork inherits the owner's end of the pipe, so the pipe never closes.
    forking = OWNER.replace(
        "signal.pause()",
        "import os\nfork = os.fork()\nif fork:\n    print(fork, flush=True)\nsignal.pause()",
    )
    command = [sys.executable, "-c", forking, "osmem", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        group = int(owner.stdout.readline())
        fork = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        try:
            wait_until(lambda: not list_group(group), "osmem is gone")
            assert psutil.pid_exists(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


def test_a_killed_service_is_reaped_and_its_watcher_leaves(tmp_path: Path) -> None:
    service = start_osmem(tmp_path)
    service.kill()
    assert not service.is_running()
    wait_until(lambda: not list_group(service.pid), "the watcher is gone")


def test_a_server_that_ends_at_its_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such setting: colour'); raise SystemExit(3)"]
    recipe = Recipe("broken", lambda port: command, "/")
    with pytest.raises(
        ServiceFailedError, match=r"status 3.*\n.*no such setting: colour"
    ) as failed:
        start(recipe, tmp_path)
    assert str(tmp_path / "broken.log") in failed.value.hint


def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    recipe = Recipe("absent", lambda port: ["no-such-command"], "/")
    with pytest.raises(ServiceFailedError, match="no-such-command"):
        start(recipe, tmp_path)


def test_a_server_that_stays_silent_is_killed_and_reported(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
    ]
    recipe = Recipe("silent", lambda port: command, "/", deadline_s=1.0)
    with pytest.raises(ServiceFailedError, match="did not answer within 1 s"):
        start(recipe, tmp_path)
    group = int((tmp_path / "silent.log").read_text())
    wait_until(lambda: not list_group(group), "the silent server is gone")


def test_a_port_that_another_process_has_is_told_apart(name: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        port = find_free_port()
        other.bind((HOST, port))
        other.listen()
        with pytest.raises(PortTakenError, match="found its port taken"):
            STARTERS[name](tmp_path, port=port)


def test_a_port_that_was_taken_meanwhile_is_tried_again_elsewhere(tmp_path: Path) -> None:
    tried: list[int] = []

    def build_command(port: int) -> list[str]:
        tried.append(port)
        late = [sys.executable, "-m", "http.server", "--bind", HOST, str(port)]
        return late if len(tried) == PORT_TRIES else [sys.executable, "-c", TAKEN]

    with start(Recipe("late", build_command, "/"), tmp_path) as service:
        assert urlsplit(service.url).port == tried[-1]
    assert len(tried) == PORT_TRIES


def test_a_port_that_is_always_taken_is_reported_in_the_end(tmp_path: Path) -> None:
    recipe = Recipe("never", lambda port: [sys.executable, "-c", TAKEN], "/")
    with pytest.raises(PortTakenError, match="never found its port taken"):
        start(recipe, tmp_path)


@pytest.mark.parametrize("starter", ["start_moto", "start_osmem"])
def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    starter: str, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        WITHOUT_PACKAGES,
        str(ROOT),
        starter,
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ServiceMissingError" in done.stderr
    assert "pip install -e '.[demo]'" in done.stderr


@pytest.mark.parametrize("version", [8, 9])
def test_elasticsearch_keeps_what_it_acknowledged_through_a_kill(
    version: Literal[8, 9], tmp_path: Path
) -> None:
    require(f"elasticsearch-{version}", os.environ)
    service = start_elasticsearch(version, tmp_path)
    status, _ = call(service, "PUT", "/kept/_doc/1", '{"word": "kept"}')
    assert status == 201
    port = urlsplit(service.url).port
    service.kill()
    assert not answers(service.url)
    with start_elasticsearch(version, tmp_path, port=port) as again:
        assert again.url == service.url
        status, text = call(again, "GET", "/kept/_source/1")
    assert (status, text) == (200, '{"word": "kept"}')


def test_a_persistent_elasticmq_keeps_queue_and_message_through_a_kill(tmp_path: Path) -> None:
    require("elasticmq", os.environ)
    service = start_elasticmq(tmp_path, persistent=True)
    port = urlsplit(service.url).port
    queues = boto3.client("sqs", endpoint_url=service.url)
    url = queues.create_queue(QueueName="kept")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="kept")
    service.kill()
    with start_elasticmq(tmp_path, persistent=True, port=port):
        received = queues.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    queues.close()
    assert [message["Body"] for message in received["Messages"]] == ["kept"]


def test_two_processes_that_prepare_a_service_at_once_get_the_same_folder(tmp_path: Path) -> None:
    require("elasticmq", os.environ)
    environment = {**os.environ, "SLUICE_TEST_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", PREPARE]
    running = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]
    assert {path.name for path in tmp_path.iterdir()} == {Path(said[0]).name, "elasticmq.lock"}


def test_the_shared_tables_and_queues_answer(
    dynamodb: Engine, elasticmq: Engine, s3: Engine, fresh_name: str
) -> None:
    tables = boto3.client("dynamodb", endpoint_url=dynamodb.url)
    tables.create_table(
        TableName=fresh_name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    described = tables.describe_table(TableName=fresh_name)["Table"]
    assert fresh_name in described["LatestStreamArn"]
    queues = boto3.client("sqs", endpoint_url=elasticmq.url)
    url = queues.create_queue(QueueName=fresh_name)["QueueUrl"]
    assert queues.send_message(QueueUrl=url, MessageBody="body")["MessageId"]
    buckets = boto3.client("s3", endpoint_url=s3.url)
    buckets.create_bucket(Bucket=fresh_name)
    buckets.put_object(Bucket=fresh_name, Key="key", Body=b"body")
    assert buckets.get_object(Bucket=fresh_name, Key="key")["Body"].read() == b"body"
    for client in (tables, queues, buckets):
        client.close()
