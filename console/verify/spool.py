"""Findings on disk: however many differences there are, memory stays flat."""

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from console.errors import CheckpointError
from console.verify.model import Finding, read_finding, write_finding


class Spool:
    """A file of findings, written by several threads, then read from its beginning."""

    def __init__(self, table: str, path: Path | None = None) -> None:
        """path: kept from run to run; None: a temporary file that goes with this object.

        Raises CheckpointError for a file that holds anything but findings of this table.
        """
        self._table = table
        self._lock = threading.Lock()
        self.path = path
        self.count = _count_whole(table, path) if path is not None and path.exists() else 0
        self._file = (
            tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - it lives as long as we
            if path is None
            else path.open("a+", encoding="utf-8")
        )

    def add(self, findings: Iterable[Finding]) -> None:
        """Append findings; once this returns a kill no longer loses them."""
        lines = [write_finding(self._table, finding) + "\n" for finding in findings]
        if not lines:
            return
        with self._lock:
            self._file.write("".join(lines))
            self._file.flush()
            if self.path is not None:
                os.fsync(self._file.fileno())
            self.count += len(lines)

    def read(self) -> Iterator[Finding]:
        """Every finding, in the order they were added."""
        self._file.seek(0)
        for line in self._file:
            yield read_finding(line, self._table)

    def release(self) -> None:
        """Close the file; one with a name stays for the next run."""
        self._file.close()

    def close(self) -> None:
        """Close the file, and remove it if it has a name."""
        self.release()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _count_whole(table: str, path: Path) -> int:
    """The findings in a file; half a line at its end, cut off by a kill, is removed."""
    count = whole = 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                read_finding(line.decode(), table)
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointError(
                    f"{path}, line {count + 1}, is no finding of {table}: {error!s:.200}",
                    hint="remove it and the checkpoint beside it to begin anew",
                ) from error
            count, whole = count + 1, whole + len(line)
        file.truncate(whole)
    return count
