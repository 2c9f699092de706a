"""How far a long command has come, kept so that the same command goes on after a kill.

A checkpoint names the job it belongs to and, for each of its units (a segment of the table, a file
of an export, a range of the index), the place up to which everything is done. Places are written
only after what lies before them is done, so a kill at any instant repeats work and misses none.
"""

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from console.aws import explain_aws
from console.errors import CheckpointError, MisuseError
from console.persistence import Persistence
from worker.errors import SluiceError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

VERSION: Final = 1
SAVE_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one unit is."""

    place: Any = None
    """Any JSON value; None: at the beginning."""
    done: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)

    def add(self, place: Any, done: bool, counts: Mapping[str, int]) -> "Progress":
        """One step further."""
        names = self.counts.keys() | counts.keys()
        summed = {name: self.counts.get(name, 0) + counts.get(name, 0) for name in sorted(names)}
        return Progress(place, done, summed)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A job, when it began, and how far each of its units is."""

    job: Mapping[str, Any]
    """What must be the same for the checkpoint to be of use: command, table, segments …"""
    began_ms: int
    units: Mapping[str, Progress]


def write_checkpoint(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as JSON, with a digest of itself."""
    fields = {
        "sluice": "checkpoint",
        "version": VERSION,
        "job": dict(checkpoint.job),
        "began": checkpoint.began_ms,
        "units": {
            name: {"place": p.place, "done": p.done, "counts": dict(p.counts)}
            for name, p in checkpoint.units.items()
        },
    }
    return json.dumps({**fields, "digest": _digest(fields)}, sort_keys=True).encode()


def read_checkpoint(content: bytes, job: Mapping[str, Any]) -> Checkpoint:
    """The inverse. Raises CheckpointError for half a file, and for another job's."""
    try:
        fields = json.loads(content)
        digest = fields.pop("digest")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise _broken("is no checkpoint, or only half of one") from error
    if digest != _digest(fields) or fields.get("sluice") != "checkpoint":
        raise _broken("is no checkpoint, or was changed by hand")
    if fields.get("version") != VERSION:
        raise _broken(f"has version {fields.get('version')}; this command reads {VERSION}")
    if fields["job"] != dict(job):
        names = sorted(
            n for n in fields["job"].keys() | job.keys() if fields["job"].get(n) != job.get(n)
        )
        told = "; ".join(f"{n}: {fields['job'].get(n)!r} there, {job.get(n)!r} here" for n in names)
        raise CheckpointError(
            f"the checkpoint belongs to another run: {told:.600}",
            hint="name another file, or repeat the command as it was",
        )
    units = {
        name: Progress(unit["place"], unit["done"], unit["counts"])
        for name, unit in fields["units"].items()
    }
    return Checkpoint(fields["job"], fields["began"], units)


def _digest(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _broken(why: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {why}", hint="remove it to begin anew: repeating does no harm"
    )


class Store(Protocol):
    """Where a checkpoint lies."""

    def load(self) -> bytes | None: ...
    def save(self, content: bytes) -> None: ...
    def remove(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FileStore:
    """A file, replaced as a whole: a reader sees the old one or the new one."""

    path: Path

    def load(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MisuseError(f"cannot read the checkpoint {self.path}: {error}") from error

    def save(self, content: bytes) -> None:
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self.path)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise CheckpointError(
                f"cannot write the checkpoint {self.path}: {error}",
                hint="make room, or let it be written; the same command goes on from the last"
                " one that was",
            ) from error

    def remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise MisuseError(f"cannot remove the checkpoint {self.path}: {error}") from error


@dataclass(frozen=True, slots=True)
class BucketStore:
    """An object in S3, which replaces objects as a whole."""

    client: "S3Client"
    bucket: str
    key: str
    persistence: Persistence

    def load(self) -> bytes | None:
        return self.persistence.ask(self._load)

    def _load(self) -> bytes | None:
        try:
            return self.client.get_object(Bucket=self.bucket, Key=self.key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise explain_aws(error, "cannot read the checkpoint") from error
        except BotoCoreError as error:
            raise explain_aws(error, "cannot read the checkpoint") from error

    def save(self, content: bytes) -> None:
        self.persistence.ask(lambda: self._save(content))

    def _save(self, content: bytes) -> None:
        try:
            self.client.put_object(Bucket=self.bucket, Key=self.key, Body=content)
        except (BotoCoreError, ClientError) as error:
            raise explain_aws(error, "cannot write the checkpoint") from error

    def remove(self) -> None:
        self.persistence.ask(self._remove)

    def _remove(self) -> None:
        try:
            self.client.delete_object(Bucket=self.bucket, Key=self.key)
        except (BotoCoreError, ClientError) as error:
            raise explain_aws(error, "cannot remove the checkpoint") from error


def split_s3(url: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`. Raises MisuseError."""
    bucket, slash, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not slash or not key:
        raise MisuseError(f"no address of an object: {url!r:.200}", hint="s3://bucket/key")
    return bucket, key


def open_store(
    where: str,
    share: "Share",
    client: Callable[[], "S3Client"],
    persist: Callable[[], Persistence] = Persistence,
) -> Store:
    """The store that `--checkpoint` names. Each share has its own, so hosts never meet."""
    suffix = "" if share.of == 1 else f".{share.number}-of-{share.of}"
    if where.startswith("s3://"):
        bucket, key = split_s3(where)
        return BucketStore(client(), bucket, key + suffix, persist())
    return FileStore(Path(where + suffix))


@dataclass(frozen=True, slots=True)
class Share:
    """Which of several hosts this is: number 1 to `of`."""

    number: int = 1
    of: int = 1

    def take(self, units: Iterable[str]) -> list[str]:
        """The units that are this host's: every one belongs to exactly one host."""
        return [name for place, name in enumerate(units) if place % self.of == self.number - 1]


def read_share(text: str) -> Share:
    """`K/N`. Raises ValueError."""
    first, slash, second = text.partition("/")
    if not slash or not (first.isdecimal() and second.isdecimal()):
        raise ValueError("is not of the form K/N, such as 1/4")
    share = Share(int(first), int(second))
    if not 1 <= share.number <= share.of:
        raise ValueError("is not between 1/N and N/N")
    return share


@dataclass
class Journal:
    """The progress of a running job: kept in memory, saved every so often and at the end."""

    job: Mapping[str, Any]
    store: Store | None
    clock_ms: Callable[[], int]
    clock: Callable[[], float] = time.monotonic
    every_s: float = SAVE_EVERY_S
    began_ms: int = 0
    resumed: bool = False
    _units: dict[str, Progress] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _saved: float = 0.0

    def open(self, units: Iterable[str]) -> None:
        """Begin, or go on where the checkpoint stands. Raises CheckpointError."""
        content = self.store.load() if self.store else None
        old = read_checkpoint(content, self.job) if content is not None else None
        self.resumed = old is not None
        self.began_ms = old.began_ms if old else self.clock_ms()
        before = old.units if old else {}
        self._units = {name: before.get(name, Progress()) for name in units}
        self.save()

    def progress(self, unit: str) -> Progress:
        """How far a unit is."""
        with self._lock:
            return self._units[unit]

    def advance(self, unit: str, place: Any, done: bool, **counts: int) -> None:
        """Everything of a unit before `place` is done."""
        with self._lock:
            self._units[unit] = self._units[unit].add(place, done, counts)
            if self.clock() - self._saved >= self.every_s:
                self._save()

    def save(self) -> None:
        """Save now."""
        with self._lock:
            self._save()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Save when the work within ends. If both fail, the work's error is the one to tell."""
        try:
            yield
        except BaseException:
            with suppress(SluiceError):
                self.save()
            raise
        self.save()

    def _save(self) -> None:
        if self.store is not None:
            self.store.save(write_checkpoint(Checkpoint(self.job, self.began_ms, self._units)))
        self._saved = self.clock()

    def remaining(self) -> list[str]:
        """The units that are not done."""
        with self._lock:
            return [name for name, progress in self._units.items() if not progress.done]

    def count(self, name: str) -> int:
        """A count, over all units."""
        with self._lock:
            return sum(progress.counts.get(name, 0) for progress in self._units.values())

    def close(self) -> SluiceError | None:
        """The job is done: nothing is left to go on with.

        Answers what kept the checkpoint from being removed: the job itself has not failed by it.
        """
        try:
            if self.store is not None:
                self.store.remove()
        except SluiceError as error:
            return error
        return None
