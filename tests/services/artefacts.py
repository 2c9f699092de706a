"""Assembling the real services in a cache folder, once for all checkouts and test runs."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from console.local.services import ServiceFailedError, ServiceMissingError
from tests.services.catalogue import SERVICES, Artefact
from tests.services.java_home import Java, find_java

MAVEN_TIMEOUT_S = 600
LOG_LINES = 20
GET_JAVA = (
    "Install a JDK {oldest} or later (Debian: apt install openjdk-{oldest}-jdk-headless; macOS: "
    "brew install openjdk@{oldest}; anywhere: Eclipse Temurin); let JAVA_HOME or PATH lead to it."
)
GET_MAVEN = "Install Maven 3.8 or later (Debian: apt install maven, macOS: brew install maven)."
PLUGIN_DESCRIPTOR = """\
description=HTTP and transport on netty
version={version}
name=transport-netty4
classname=org.elasticsearch.transport.netty4.Netty4Plugin
java.version=17
elasticsearch.version={version}
has.native.controller=false
"""


def find_cache(environment: Mapping[str, str]) -> Path:
    """SLUICE_TEST_CACHE, or `.cache/services` in the repository."""
    given = environment.get("SLUICE_TEST_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    return Path(__file__).resolve().parents[2] / ".cache" / "services"


def missing(service: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Why a real service cannot run here and how to get it, None if it can.

    A service that lies prepared in the cache needs Java alone.
    """
    environment = os.environ if environment is None else environment
    artefact = SERVICES[service]
    prepared = (find_cache(environment) / artefact.folder).is_dir()
    compiler = artefact.launcher and not prepared
    java = find_java(environment, artefact.java, compiler=compiler)
    maven = shutil.which("mvn", path=environment.get("PATH", ""))
    return explain(artefact, java=java is not None, fetched=prepared or maven is not None)


def explain(artefact: Artefact, *, java: bool, fetched: bool) -> str | None:
    """What a service lacks: a Java that runs it, or Maven to fetch it. None if it lacks nothing."""
    name = f"{artefact.name} {artefact.version}"
    if not java:
        hint = GET_JAVA.format(oldest=artefact.java)
        return f"{name} needs a JDK {artefact.java} or later, not found here. {hint}"
    if not fetched:
        return f"{name} is fetched by Maven, not found here. {GET_MAVEN}"
    return None


def require_java(artefact: Artefact, *, compiler: bool = False) -> Java:
    """The Java that runs a service; raises ServiceMissingError when there is none."""
    java = find_java(os.environ, artefact.java, compiler=compiler)
    if java is None:
        raise ServiceMissingError(
            f"{artefact.name} needs Java {artefact.java} or later.",
            GET_JAVA.format(oldest=artefact.java),
        )
    return java


def prepare(artefact: Artefact) -> Path:
    """The folder of an assembled service, fetched and assembled now if it is not there yet.

    Safe in several processes at once. Raises ServiceMissingError without Java or Maven,
    ServiceFailedError when Maven or the compiler fails.
    """
    cache = find_cache(os.environ)
    target = cache / artefact.folder
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / f"{artefact.name}.lock"):
        if not target.is_dir():
            _assemble_beside(artefact, target)
    return target


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the system drops it when the holder dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _assemble_beside(artefact: Artefact, target: Path) -> None:
    # Renamed only when it is whole: a folder under its final name is always usable.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{artefact.name}-") as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        _assemble(artefact, home, require_java(artefact, compiler=artefact.launcher))
        home.rename(target)


def _assemble(artefact: Artefact, home: Path, java: Java) -> None:
    _fetch(artefact, home / "lib", java)
    if artefact.launcher:
        _compile_launcher(artefact, home, java)
    if artefact.modules:
        _lay_out_modules(artefact, home)


def _lay_out_modules(artefact: Artefact, home: Path) -> None:
    module = home / "modules" / "transport-netty4"
    for folder in (module, home / "config", home / "plugins"):
        folder.mkdir(parents=True)
    for pattern in ("netty-*.jar", "transport-netty4-*.jar"):
        for jar in (home / "lib").glob(pattern):
            jar.rename(module / jar.name)
    descriptor = PLUGIN_DESCRIPTOR.format(version=artefact.version)
    (module / "plugin-descriptor.properties").write_text(descriptor)


def _fetch(artefact: Artefact, target: Path, java: Java) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceMissingError(
            f"{artefact.name} is fetched by Maven, not found here.", GET_MAVEN
        )
    # A copy of the pom, so that Maven writes nothing into the source tree.
    pom = shutil.copy(artefact.source / "pom.xml", target.parent / "pom.xml")
    command = [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies"]
    _run([*command, f"-DoutputDirectory={target}", "-DincludeScope=runtime"], java)


def _compile_launcher(artefact: Artefact, home: Path, java: Java) -> None:
    options = ["--release", str(artefact.java), "-proc:none", "-cp", f"{home / 'lib'}/*"]
    source = artefact.source / "Launcher.java"
    _run([str(java.javac), *options, "-d", str(home / "launcher"), str(source)], java)


def _run(command: list[str], java: Java) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "JAVA_HOME": str(java.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=MAVEN_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-LOG_LINES:])
        raise ServiceFailedError(
            f"{Path(command[0]).name} failed with status {done.returncode}:\n{last}",
            "If the network is the reason, mend it and run: python -m tests.services prepare",
        )
