"""Which services a test run uses: what is missing, what is skipped, what a service is told."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from console.local.process import build_environment, read_last_lines
from tests.services.artefacts import explain, find_cache, hold_lock
from tests.services.catalogue import SERVICES
from tests.services.engines import must_not_skip, name_search_engines, refuse
from tests.services.environment import scrub
from tests.services.java_home import Java, choose, inspect, list_homes, parse_major
from tests.services.servers import build_elasticmq_config, build_elasticsearch_settings

ROOT = Path(__file__).resolve().parents[2]
LOCK = """
import signal, sys
from pathlib import Path
from tests.services.artefacts import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    signal.pause()
"""


def make_java(home: Path, version: str, *, compiler: bool = True) -> Path:
    """A folder that looks like a Java installation."""
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    for command in ("java", "javac") if compiler else ("java",):
        (home / "bin" / command).touch(mode=0o755)
    return home


@pytest.mark.parametrize(
    ("release", "major"),
    [
        ('JAVA_VERSION="17.0.15"', 17),
        ('IMPLEMENTOR="x"\nJAVA_VERSION="25"\n', 25),
        ('JAVA_VERSION="1.8.0_402"', 8),
        ("JAVA_RUNTIME_VERSION=17", None),
        ("", None),
    ],
)
def test_the_release_file_tells_the_major_version(release: str, major: int | None) -> None:
    assert parse_major(release) == major


def test_java_is_looked_for_in_java_home_first_and_then_on_path(tmp_path: Path) -> None:
    given = make_java(tmp_path / "given", "21.0.1")
    on_path = make_java(tmp_path / "on-path", "17.0.1")
    environment = {"JAVA_HOME": str(given), "PATH": str(on_path / "bin")}
    assert list(list_homes(environment))[:2] == [given, on_path]


def test_a_folder_without_a_java_command_is_no_java(tmp_path: Path) -> None:
    home = make_java(tmp_path / "java", "17.0.1")
    assert inspect(home) == Java(home, 17, compiler=True)
    (home / "bin" / "java").unlink()
    assert inspect(home) is None


def test_a_runtime_without_a_compiler_is_told_from_a_jdk(tmp_path: Path) -> None:
    java = inspect(make_java(tmp_path / "java", "17.0.1", compiler=False))
    assert java is not None
    assert not java.compiler


def test_the_nearest_java_that_is_new_enough_is_chosen() -> None:
    old, fit, new = (Java(Path(str(n)), n, compiler=True) for n in (11, 17, 25))
    assert choose([new, old, fit], 17, compiler=True) == fit
    assert choose([new, old, fit], 21, compiler=True) == new
    assert choose([old], 17, compiler=True) is None


def test_a_java_without_a_compiler_is_chosen_only_where_nothing_is_compiled() -> None:
    runtime = Java(Path("runtime"), 17, compiler=False)
    assert choose([runtime], 17, compiler=True) is None
    assert choose([runtime], 17, compiler=False) == runtime


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_missing_is_named_with_how_to_get_it(service: str) -> None:
    artefact = SERVICES[service]
    without_java = explain(artefact, java=False, fetched=True)
    without_maven = explain(artefact, java=True, fetched=False)
    assert without_java is not None
    assert f"openjdk-{artefact.java}-jdk" in without_java
    assert without_maven is not None
    assert "apt install maven" in without_maven
    assert all(text.startswith(service) for text in (without_java, without_maven))
    assert explain(artefact, java=True, fetched=True) is None


def test_another_version_is_another_folder_of_the_cache() -> None:
    artefact = SERVICES["elasticmq"]
    assert artefact.folder.startswith("elasticmq-1.6.14-")
    assert artefact.folder == SERVICES["elasticmq"].folder
    assert replace(artefact, version="1.6.15").folder != artefact.folder


def test_the_cache_lies_in_the_repository_unless_told_otherwise(tmp_path: Path) -> None:
    assert find_cache({}) == ROOT / ".cache" / "services"
    assert find_cache({"SLUICE_TEST_CACHE": str(tmp_path)}) == tmp_path


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    with hold_lock(path):
        assert path.exists()


def test_a_cluster_of_the_users_replaces_the_real_engines() -> None:
    assert name_search_engines({}) == ["embedded", "elasticsearch-8", "elasticsearch-9"]
    given = {"SLUICE_TEST_ELASTICSEARCH_URL": "http://127.0.0.1:9200"}
    assert name_search_engines(given) == ["embedded", "cluster"]


@pytest.mark.parametrize(
    ("value", "strict"), [("true", True), ("1", True), ("false", False), ("0", False), ("", False)]
)
def test_only_ci_forbids_to_skip(value: str, strict: bool) -> None:
    assert must_not_skip({"CI": value}) is strict
    assert not must_not_skip({})


def test_a_missing_service_skips_here_and_fails_on_ci() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs a JDK"):
        refuse("it needs a JDK", {})
    with pytest.raises(pytest.fail.Exception, match="needs a JDK"):
        refuse("it needs a JDK", {"CI": "true"})


def test_the_callers_accounts_settings_and_proxies_are_hidden_from_tests() -> None:
    environment = {
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL_SQS": "http://example.invalid",
        "SLUICE_QUEUE_URL": "http://example.invalid",
        "SLUICE_TEST_CACHE": "kept",
        "https_proxy": "http://example.invalid",
        "PATH": "kept",
    }
    scrub(environment)
    assert "example.invalid" not in environment.values()
    assert "AWS_PROFILE" not in environment
    assert environment["AWS_ACCESS_KEY_ID"] == "testing"
    assert environment["SLUICE_TEST_CACHE"] == environment["PATH"] == "kept"


def test_this_very_run_is_scrubbed() -> None:
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "testing"
    assert os.environ["AWS_CONFIG_FILE"] == os.devnull


def test_a_service_is_not_told_the_accounts_of_its_owner() -> None:
    given = {"AWS_PROFILE": "x", "SLUICE_TABLES": "x", "MOTO_PORT": "1", "PATH": "kept"}
    assert build_environment(given) == {"PATH": "kept"}


def test_the_end_of_a_log_is_read_and_no_log_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert read_last_lines(log) == ""
    log.write_bytes(b"one\ntwo\nthr\xff\n")
    assert read_last_lines(log, 2) == "two\nthr\ufffd"


def test_elasticmq_keeps_to_loopback_with_the_limits_of_sqs(tmp_path: Path) -> None:
    text = build_elasticmq_config(tmp_path, 4321, persistent=False)
    assert 'bind-hostname = "127.0.0.1", bind-port = 4321, sqs-limits = strict' in text
    assert "jdbc" not in text
    assert str(tmp_path) in build_elasticmq_config(tmp_path, 4321, persistent=True)
    relaxed = build_elasticmq_config(tmp_path, 4321, persistent=False, strict=False)
    assert "sqs-limits = relaxed" in relaxed


def test_elasticsearch_keeps_to_loopback_and_its_data_in_the_given_folder(tmp_path: Path) -> None:
    settings = build_elasticsearch_settings(tmp_path / "home", tmp_path / "run", 1, 2)
    assert settings["network.host"] == "127.0.0.1"
    assert settings["path.data"] == str(tmp_path / "run" / "data")
