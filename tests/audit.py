"""Known vulnerabilities of the packages that requirements/dev.txt pins.

    python -m tests.audit

Exits 1 if a package is known to be vulnerable. Where nobody answers who would know, it says so in
one line and exits 0: a machine without a network checks everything else all the same.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
TOOL: Final = ROOT / "requirements" / "audit.txt"
AUDITED: Final = ROOT / "requirements" / "dev.txt"
PLACE: Final = ROOT / ".cache" / "audit"

SERVICES: Final = ("pypi", "osv")
"""Who is asked, the first that answers; both by pip-audit's own addresses."""

SOCKET_S: Final = 5
INSTALL_S: Final = 90
SAMPLE_S: Final = 20
AUDIT_S: Final = 180


class SkippedError(Exception):
    """Nobody can be asked; its words say why."""


@dataclass(frozen=True, slots=True)
class Report:
    """What pip-audit says."""

    known: int
    """Packages that the service knows."""
    unknown: int
    vulnerable: tuple[str, ...]
    """A line each."""


def read_report(text: str) -> Report | None:
    """From pip-audit's JSON; None for anything else, such as the end of a failed connection."""
    try:
        packages = json.loads(text)["dependencies"]
        known = [package for package in packages if "skip_reason" not in package]
        lines = tuple(_write(p, flaw) for p in known for flaw in p["vulns"])
    except (ValueError, TypeError, KeyError):
        return None
    return Report(len(known), len(packages) - len(known), lines)


def _write(package: dict[str, Any], flaw: dict[str, Any]) -> str:
    fixed = ", ".join(flaw.get("fix_versions") or ()) or "no version"
    return f"{package['name']} {package['version']}: {flaw['id']}, mended in {fixed}"


def first_requirement(text: str) -> str:
    """The first pinned package of a file of requirements, with its hashes."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    end = next(place for place, line in enumerate(lines) if not line.endswith("\\"))
    return "\n".join(lines[: end + 1]) + "\n"


def prepare(place: Path) -> Path:
    """pip-audit as it is pinned, in an environment of its own. Raises SkippedError."""
    wanted = hashlib.sha256(TOOL.read_bytes()).hexdigest()
    stamp, program = place / "installed", place / "bin" / "pip-audit"
    if stamp.exists() and stamp.read_text() == wanted and program.exists():
        return program
    venv.create(place, with_pip=True, clear=True)
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
    bounds = ["--retries", "0", "--timeout", str(SOCKET_S)]
    arguments = ["-m", "pip", "install", *options, *bounds, "-r", str(TOOL)]
    ended = _run([str(place / "bin" / "python"), *arguments], INSTALL_S)
    if ended is None or ended.returncode:
        raise SkippedError("pip-audit cannot be installed: the package index does not answer")
    stamp.write_text(wanted)
    return program


def ask(program: Path, service: str, requirements: Path, seconds: float) -> Report | None:
    """What a service says of pinned requirements; None if it says nothing in time."""
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    bounds = ["--timeout", str(SOCKET_S), "--format", "json", "--vulnerability-service", service]
    ended = _run([str(program), *options, *bounds, "-r", str(requirements)], seconds)
    return None if ended is None else read_report(ended.stdout)


def choose_service(program: Path) -> str:
    """The first service that knows a package of ours. Raises SkippedError if none does."""
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample.txt"
        sample.write_text(first_requirement(AUDITED.read_text()))
        for service in SERVICES:
            report = ask(program, service, sample, SAMPLE_S)
            if report is not None and report.known:
                return service
    raise SkippedError(f"no service of vulnerabilities answers ({', '.join(SERVICES)})")


def audit() -> Report:
    """All pinned packages. Raises SkippedError."""
    program = prepare(PLACE)
    service = choose_service(program)
    report = ask(program, service, AUDITED, AUDIT_S)
    if report is None:
        raise SkippedError(f"{service} answered, and then no more")
    return report


def judge(report: Report) -> tuple[int, str]:
    """The exit code, and what to print."""
    if report.vulnerable:
        return 1, "known vulnerabilities:\n" + "\n".join(report.vulnerable)
    rest = f"; {report.unknown} packages are not known there" if report.unknown else ""
    return 0, f"audit: no known vulnerability in {report.known} packages{rest}"


def main() -> int:
    try:
        code, text = judge(audit())
    except SkippedError as error:
        code, text = 0, f"audit skipped: {error}"
    print(text)
    return code


def _run(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds, cwd=ROOT
        )
    except (subprocess.TimeoutExpired, OSError):
        return None


if __name__ == "__main__":
    sys.exit(main())
