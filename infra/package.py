# ruff: noqa: INP001 - a script beside the infrastructure it feeds, not a package
"""Build the Lambda zip: `python infra/package.py [--output dist/producer.zip]`.

The same sources give the same bytes, whoever builds and whenever: fixed order, times, permissions
and compression level. (Another zlib may deflate differently; it unpacks to the same files.)
"""

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MOST_BYTES: Final = 64 * 1024
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_MODE: Final = 0o100644  # a plain file, readable by all: Lambda runs as another user
_UNIX: Final = 3


def build(output: Path) -> bytes:
    """Write the zip of `producer/*.py` to `output`; answer its bytes."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted((ROOT / "producer").glob("*.py")):
            entry = zipfile.ZipInfo(f"producer/{path.name}", _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = _MODE << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=9)
    return output.read_bytes()


def main() -> int:
    """Build, print path, size and digest; 1 if the zip outgrew its bound."""
    parser = argparse.ArgumentParser(description="Build the Lambda zip of the producer.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "producer.zip")
    output = parser.parse_args().output
    content = build(output)
    sys.stdout.write(
        f"{output}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n"
    )
    if len(content) >= MOST_BYTES:
        sys.stderr.write(f"the zip must stay below {MOST_BYTES} bytes\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
