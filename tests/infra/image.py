"""Building the worker's image with buildah, and running it as the task definition would.

Root and no daemon: buildah builds, and a container is this system's own namespaces, a chroot into a
read-only bind of the image, the image's user, no capability. Network and cgroups stay the host's.
"""

import functools
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.infra.terraform import ROOT
from tests.polling import wait_for

STORE: Final = ROOT / ".cache" / "image"
BASE_OF_YOURS: Final = "SLUICE_TEST_PYTHON_IMAGE"
DEBIAN: Final = "localhost/sluice-debian-python"
SUITE: Final = "trixie"
"""Debian's release with the Dockerfile's Python, 3.13."""

BUILD_S: Final = 600.0
LEFT_OUT: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale")


def missing() -> str:
    """Why no image can be built here, with what to do about it; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the image is built and run by root on Linux, without a daemon"
    for tool in ("buildah", "unshare", "nsenter", "setpriv"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: apt install buildah util-linux)"
    return _find_base()[1]


def buildah(*arguments: str, check: bool = True, timeout_s: float = BUILD_S) -> str:
    """Run buildah on our own store; what it printed."""
    STORE.mkdir(parents=True, exist_ok=True)
    store = ["--root", str(STORE / "store"), "--runroot", str(STORE / "run")]
    done = subprocess.run(
        ["buildah", *store, "--storage-driver", _driver(), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert not check or done.returncode == 0, f"buildah {' '.join(arguments)}:\n{done.stderr}"
    return done.stdout.strip() if done.returncode == 0 else ""


def _driver() -> str:
    """overlay where the kernel has it: vfs copies the whole image for each step."""
    return "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"


def base() -> str:
    """The image that the Dockerfile builds on here: yours, the official one, or Debian's Python."""
    return _find_base()[0]


@functools.cache
def _find_base() -> tuple[str, str]:
    """Name of the base, or why there is none."""
    named = os.environ.get(BASE_OF_YOURS)
    if named:
        return named, ""
    match = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert match is not None
    official = f"docker.io/library/{match[1]}"
    if buildah("pull", "--quiet", "--policy", "missing", official, check=False, timeout_s=300):
        return official, ""
    if shutil.which("debootstrap") is None:
        return "", f"{official} cannot be pulled, and debootstrap is not installed to do without it"
    if not buildah("images", "--quiet", DEBIAN, check=False):
        _make_debian()
    return DEBIAN, ""


def _make_debian() -> None:
    """A base of Debian's own Python, from Debian's archive alone."""
    with tempfile.TemporaryDirectory(dir=STORE) as scratch:
        root = Path(scratch) / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        command = ["debootstrap", "--variant=minbase", packages, SUITE, str(root)]
        subprocess.run(command, check=True, capture_output=True, timeout=BUILD_S)
        (root / "usr" / "bin" / "python").symlink_to("python3")
        for folder in LEFT_OUT:
            shutil.rmtree(root / folder, ignore_errors=True)
        (Path(scratch) / "Dockerfile").write_text(
            "FROM scratch\nADD root /\nENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        )
        buildah("bud", "--quiet", "--tag", DEBIAN, scratch)


def build(context: Path, tag: str, **arguments: str) -> str:
    """Build the context's Dockerfile; the image's name. Steps that were built before are reused."""
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    # A private authority between here and the package index is this machine's, not the image's.
    private = os.environ.get("SSL_CERT_FILE") and Path(
        ssl.get_default_verify_paths().capath or "/etc/ssl/certs"
    )
    authority = [f"--volume={private}:{private}:ro"] if private and private.is_dir() else []
    name = f"localhost/sluice-test:{tag}"
    # The Docker format: OCI's has no health check.
    options = ["--isolation=chroot", "--format=docker", "--layers", "--tag", name]
    buildah("bud", *options, *authority, *given, str(context))
    return name


def read_config(image: str) -> dict[str, Any]:
    """What the image says of how to run it."""
    config: dict[str, Any] = json.loads(buildah("inspect", "--type=image", image))["Docker"][
        "config"
    ]
    return config


def read_size(image: str) -> int:
    """Bytes of the image with its base, not compressed."""
    described = json.loads(buildah("inspect", "--type=image", image))
    (found,) = [
        entry
        for entry in json.loads(buildah("images", "--json", "--no-trunc"))
        if entry["id"].removeprefix("sha256:") == described["FromImageID"]
    ]
    number, unit = found["size"].split()
    return int(float(number) * {"KB": 10**3, "MB": 10**6, "GB": 10**9}[unit])


@dataclass(frozen=True, slots=True)
class Container:
    """A running container; `pid` is its first process, seen from here."""

    config: Mapping[str, Any]
    environment: Mapping[str, str]
    process: "subprocess.Popen[bytes]"
    pid: int
    log: Path

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the first process, as its user; ends with the command's code."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--ipc", "--root", "--"]
        return subprocess.run(
            [*inside, *_become(self.config, self.environment), *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def is_healthy(self) -> bool:
        """What the image's own health check says."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(*command).returncode == 0

    def signal(self, number: int) -> None:
        """Signal the first process."""
        psutil.Process(self.pid).send_signal(number)

    def processes(self) -> list[psutil.Process]:
        """Every process of the container."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]


# $1 is the image's tree, $2 its user and group, $3 the folder that it may write to.
_ENTER = """\
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for name in null zero random urandom; do
  : > "$1/dev/$name"
  mount --bind "/dev/$name" "$1/dev/$name"
done
mkdir -m 1777 "$1/dev/shm"
mount -t tmpfs -o "mode=0700,uid=${2%:*},gid=${2#*:}" tmpfs "$1$3"
tree=$1
shift 3
exec chroot "$tree" "$@"
"""


def _become(config: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """The command that turns root into the image's user, without capabilities."""
    user, _, group = config["User"].partition(":")
    pairs = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
    ids = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    drop = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    return ["setpriv", *ids, *drop, "env", "-i", "-C", config["WorkingDir"], *pairs]


@contextmanager
def run(image: str, environment: Mapping[str, str], directory: Path) -> Iterator[Container]:
    """Run the image with its own entry point; nothing of it is left when the context ends."""
    config = read_config(image)
    (scratch,) = config["Volumes"]
    working = buildah("from", image)
    try:
        tree = buildah("mount", working)
        inside = [*_become(config, environment), *config["Entrypoint"]]
        with _start([_ENTER, "sh", tree, config["User"], scratch, *inside], directory) as process:
            pid = wait_for("the first process", lambda: _first_process(process), every=0.01)
            yield Container(config, environment, process, pid, directory / "container.log")
    finally:
        buildah("rm", working)


@contextmanager
def _start(script: Sequence[str], directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    spaces = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    with (directory / "container.log").open("wb") as output:
        process = subprocess.Popen(
            ["unshare", *spaces, "sh", "-c", *script],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        # --kill-child alone does not hold: the kernel forgets it as the child changes its user
        # (prctl(2), PR_SET_PDEATHSIG). With the first process all others of its space end.
        with suppress(psutil.NoSuchProcess):
            for first in psutil.Process(process.pid).children():
                first.kill()
        process.kill()
        process.wait(10)


def _first_process(process: "subprocess.Popen[bytes]") -> int:
    """Its id, once it is the container's own; 0 before that."""
    assert process.poll() is None, "the container ended at once"
    for child in psutil.Process(process.pid).children():
        if child.uids().real != 0:
            return int(child.pid)
    return 0
