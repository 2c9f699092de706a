"""An export of a table to S3 (point-in-time recovery), read as a backfill's source.

Format: *DynamoDB table export output format* (Amazon DynamoDB Developer Guide): a folder with
`manifest-summary.json`, `manifest-files.json` (a JSON object a line) and data files of gzipped
JSON, an object `{"Item": {...}}` a line, binaries as base64. `md5Checksum` is of the data file as
it lies in S3: the page's own example, hashed once more, gives the example's multipart ETag. The
page names the manifests' checksums `.checksum`; in buckets they lie as `.md5`, the MD5 in base64.
"""

import base64
import gzip
import hashlib
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

from console.backfill.bucket import Bucket
from console.backfill.source import Step
from console.checkpoint import split_s3
from console.errors import MisuseError
from console.persistence import Persistence
from console.sending import make_read
from console.session import TableFacts
from console.status.judge import read_label
from producer.contract import Change, Item

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

STEP_ITEMS: Final = 500
STEP_BYTES: Final = 2 * 1024 * 1024


class ExportError(MisuseError):
    """The export is damaged, or not what was asked for. What was sent before does no harm."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One data file, as the manifest tells it."""

    key: str
    items: int
    md5: bytes

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of itself."""

    arn: str
    table_arn: str
    table_id: str
    read_ms: int
    """The export's time: R of everything in it."""
    items: int


def read_summary(content: bytes) -> Manifest:
    """The summary manifest. Raises ExportError for one that this command cannot use."""
    fields = _json(content, "manifest-summary.json")
    kind, form = fields.get("exportType", "FULL_EXPORT"), fields.get("outputFormat")
    if kind != "FULL_EXPORT":
        raise ExportError(f"the export is a {kind}", hint="a backfill needs a full export")
    if form != "DYNAMODB_JSON":
        raise ExportError(f"the export is in {form}", hint="export in DYNAMODB_JSON")
    try:
        moment = datetime.fromisoformat(fields["exportTime"])
        return Manifest(
            arn=fields["exportArn"],
            table_arn=fields["tableArn"],
            table_id=fields.get("tableId") or "",
            read_ms=int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000),
            items=int(fields["itemCount"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"manifest-summary.json lacks a field: {error!r}") from error


def read_files(content: bytes, folder: str) -> list[DataFile]:
    """The files manifest. Files lie beside it, in `data/`, wherever the export was copied to."""
    files = []
    for line in content.splitlines():
        if line.strip():
            fields = _json(line, "manifest-files.json")
            try:
                name = fields["dataFileS3Key"].rpartition("/")[2]
                md5 = base64.b64decode(fields["md5Checksum"], validate=True)
                files.append(DataFile(f"{folder}/data/{name}", int(fields["itemCount"]), md5))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ExportError(f"manifest-files.json lacks a field: {error!r}") from error
    return files


def check_table(manifest: Manifest, facts: TableFacts) -> None:
    """Raises ExportError if the export is not of this very table."""
    if manifest.table_arn != facts.arn:
        raise ExportError(f"the export is of {manifest.table_arn}, not of {facts.arn}")
    if manifest.table_id and facts.id and manifest.table_id != facts.id:
        raise ExportError(
            f"the export is of an earlier table of this name, {manifest.table_id}",
            hint="export the table as it is now",
        )


def _json(content: bytes, name: str) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise ExportError(f"{name} is no JSON: {error!s:.200}") from error
    if not isinstance(fields, dict):
        raise ExportError(f"{name} is no JSON object")
    return fields


@dataclass(frozen=True, slots=True)
class ExportSource:
    """An export, by data files. A place is a number of lines."""

    bucket: Bucket
    manifest: Manifest
    files: Mapping[str, DataFile]
    keys: tuple[str, ...]

    @property
    def job(self) -> Mapping[str, Any]:
        return {"source": self.manifest.arn}

    @property
    def total(self) -> int:
        return self.manifest.items

    def units(self) -> Sequence[str]:
        return list(self.files)

    def steps(self, unit: str, place: Any) -> Iterator[Step]:
        """Raises ExportError for a file that is not what the manifest says, before any of it."""
        file = self.files[unit]
        done = int(place or 0)
        with tempfile.TemporaryFile() as copy:
            self._fetch(file, copy)
            changes: list[Change] = []
            size = line = 0
            for line, text in enumerate(_lines(file, copy), start=1):
                if line > done:
                    changes.append(self._change(file, line, text))
                    size += len(text)
                if len(changes) >= STEP_ITEMS or size >= STEP_BYTES:
                    yield Step(changes, line, done=False)
                    changes, size = [], 0
            if line != file.items:
                raise ExportError(f"{file.name} holds {line} items, not {file.items}")
            yield Step(changes, line, done=True)

    def _fetch(self, file: DataFile, copy: IO[bytes]) -> None:
        try:
            md5 = self.bucket.copy(file.key, copy)
        except OSError as error:
            raise ExportError(
                f"cannot keep {file.name} in a temporary file: {error}",
                hint="make room, or set TMPDIR to where there is some",
            ) from error
        if md5 != file.md5:
            raise ExportError(f"{file.name} is damaged: its MD5 is not the manifest's")

    def _change(self, file: DataFile, line: int, text: bytes) -> Change:
        try:
            item: Item = json.loads(text)["Item"]
            key = {name: item[name] for name in self.keys}
        except (ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{file.name}, line {line}: no item of this table") from error
        return make_read(key, item, self.manifest.read_ms)


def _lines(file: DataFile, copy: IO[bytes]) -> Iterator[bytes]:
    try:
        with gzip.open(copy) as opened:
            for line in opened:
                if line.strip():
                    yield line
    except (OSError, EOFError, zlib.error) as error:
        raise ExportError(f"{file.name} is no gzip file: {error}") from error


def open_export(
    client: "S3Client", url: str, facts: TableFacts, persistence: Persistence
) -> ExportSource:
    """The export at `s3://…/AWSDynamoDB/<id>`, or at its summary manifest.

    Raises ExportError if it is damaged or another table's.
    """
    name, key = split_s3(url.rstrip("/"))
    bucket = Bucket(client, name, persistence)
    folder = key.removesuffix("/manifest-summary.json")
    manifest = read_summary(_read_manifest(bucket, f"{folder}/manifest-summary"))
    check_table(manifest, facts)
    files = read_files(_read_manifest(bucket, f"{folder}/manifest-files"), folder)
    if sum(file.items for file in files) != manifest.items:
        raise ExportError("the two manifests count a different number of items")
    return ExportSource(bucket, manifest, {f.name: f for f in files}, facts.keys)


def _read_manifest(bucket: Bucket, stem: str) -> bytes:
    content = bucket.read(f"{stem}.json")
    checksum = bucket.find(f"{stem}.md5")
    if checksum is not None:
        check_manifest(stem.rpartition("/")[2], content, checksum)
    return content


def check_manifest(name: str, content: bytes, checksum: bytes) -> None:
    """Raises ExportError if a manifest is not the one that its checksum is of."""
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    if checksum.strip() not in (base64.b64encode(md5), md5.hex().encode()):
        raise ExportError(f"{name}.json is damaged: its MD5 is not that of {name}.md5")


def find_gap(manifest: Manifest, label: str | None) -> str:
    """Why changes after the export may have come through no stream; empty if none can have.

    label: of the table's stream, if one is on. Pure.
    """
    if label is None:
        return "the table has no stream"
    if manifest.read_ms < read_label(label) * 1_000:
        return f"the export is older than the stream, which began at {label}"
    return ""
