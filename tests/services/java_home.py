"""Finding a Java that is new enough, without running any."""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Where the package managers of Debian, Red Hat, macOS and SDKMAN put Java.
PLATFORM_FOLDERS = (
    ("/usr/lib/jvm", "*"),
    ("/Library/Java/JavaVirtualMachines", "*/Contents/Home"),
    ("~/.sdkman/candidates/java", "*"),
    ("~/.jdks", "*"),
)
VERSION = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java installation: its home, its major version, and whether it has a compiler."""

    home: Path
    major: int
    compiler: bool

    @property
    def java(self) -> Path:
        """The `java` command."""
        return self.home / "bin" / "java"

    @property
    def javac(self) -> Path:
        """The `javac` command; it exists if `compiler` is true."""
        return self.home / "bin" / "javac"


def parse_major(release: str) -> int | None:
    """The major version that the text of a `release` file states, None if it states none."""
    found = VERSION.search(release)
    return int(found[1]) if found else None


def inspect(home: Path) -> Java | None:
    """The Java installed at `home`, None if there is none or it does not tell its version."""
    release = home / "release"
    if not release.is_file() or not (home / "bin" / "java").is_file():
        return None
    major = parse_major(release.read_text(errors="replace"))
    if major is None:
        return None
    return Java(home, major, (home / "bin" / "javac").is_file())


def list_homes(environment: Mapping[str, str]) -> Iterator[Path]:
    """Folders that may hold a Java: JAVA_HOME, the one on PATH, then the platform's usual ones."""
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"])
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    if on_path:
        yield Path(on_path).resolve().parents[1]
    for folder, pattern in PLATFORM_FOLDERS:
        yield from sorted(Path(folder).expanduser().glob(pattern))


def choose(found: list[Java], oldest: int, *, compiler: bool) -> Java | None:
    """The oldest Java that is at least `oldest`: the nearest to what a service was built for."""
    fit = [java for java in found if java.major >= oldest and (java.compiler or not compiler)]
    return min(fit, key=lambda java: java.major, default=None)


def find_java(environment: Mapping[str, str], oldest: int, *, compiler: bool) -> Java | None:
    """A Java on this machine that is at least `oldest`, None if there is none."""
    found = [java for java in map(inspect, list_homes(environment)) if java is not None]
    return choose(found, oldest, compiler=compiler)
