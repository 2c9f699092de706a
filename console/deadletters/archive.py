"""Dead letters as a file of JSON Lines: one message a line, body and attributes as they stand."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from console.deadletters.model import (
    Received,
    decode_attributes,
    encode_attributes,
    mark_first,
)
from console.deadletters.queue import Parcel
from console.errors import MisuseError
from worker.deadletters import write_time
from worker.errors import UnavailableError


def write(file: IO[str], letters: Iterable[Received]) -> None:
    """Append letters, and return once they are on the disk. Raises UnavailableError."""
    try:
        for letter in letters:
            file.write(write_line(letter) + "\n")
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise UnavailableError(f"cannot write {file.name}: {error}") from error


def write_line(letter: Received) -> str:
    """One message as JSON. Its id and time tell a person which it was; an import makes new ones,
    so the time when it was first sent is put into its attributes.
    """
    fields = {
        "message": letter.id,
        "sent": write_time(letter.sent_ms),
        "attributes": encode_attributes(mark_first(letter.attributes, letter)),
        "body": letter.body,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def read_line(line: str) -> Parcel:
    """What a line says to send. Raises ValueError."""
    fields = json.loads(line)
    body = fields.get("body") if isinstance(fields, dict) else None
    if not isinstance(body, str) or not body:
        raise ValueError("no object with a 'body'")
    return Parcel(body, decode_attributes(fields.get("attributes", {})))


def read(path: Path) -> list[Parcel]:
    """All messages of a file. Raises MisuseError, naming the line, before anything is sent."""
    parcels = []
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    parcels.append(_read_numbered(path, number, line))
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"cannot read {path}: {error}") from error
    return parcels


@contextmanager
def create(path: Path) -> Iterator[IO[str]]:
    """A new file, for its owner alone, since it will hold documents. Raises MisuseError.

    It is removed again if nothing was written to it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise MisuseError(f"{path} is there already", hint="name another file") from error
    except OSError as error:
        raise MisuseError(f"cannot write {path}: {error}") from error
    file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
    try:
        yield file
    finally:
        if os.fstat(descriptor).st_size == 0:
            path.unlink(missing_ok=True)
        # What was written is on the disk already, or the failure was told (see `write`).
        with suppress(OSError):
            file.close()


def _read_numbered(path: Path, number: int, line: str) -> Parcel:
    try:
        return read_line(line)
    except (ValueError, RecursionError) as error:
        raise MisuseError(f"{path}, line {number}: {error}; nothing was imported") from error
