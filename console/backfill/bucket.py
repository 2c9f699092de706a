"""The edge to an export's bucket: objects fetched whole, and again where that breaks off."""

import hashlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from console.aws import explain_aws
from console.persistence import Persistence

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_BLOCK: Final = 1024 * 1024

# Whoever may not list a bucket is told 403 of an object that is not there.
_ABSENT: Final = frozenset({"NoSuchKey", "404", "AccessDenied", "403"})


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket to read from. Every method raises MisuseError, UnavailableError."""

    client: "S3Client"
    name: str
    persistence: Persistence

    def read(self, key: str) -> bytes:
        """A small object."""
        return self.persistence.ask(lambda: self._read(key))

    def find(self, key: str) -> bytes | None:
        """A small object that need not be there."""
        return self.persistence.ask(lambda: self._find(key))

    def copy(self, key: str, file: IO[bytes]) -> bytes:
        """An object of any size into a file, which then stands at its beginning; its MD5."""
        return self.persistence.ask(lambda: self._copy(key, file))

    def _read(self, key: str) -> bytes:
        try:
            content: bytes = self._open(key).read()
        except (BotoCoreError, ClientError) as error:
            raise self._explain(error, key) from error
        return content

    def _find(self, key: str) -> bytes | None:
        try:
            content: bytes = self._open(key).read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                return None
            raise self._explain(error, key) from error
        except BotoCoreError as error:
            raise self._explain(error, key) from error
        return content

    def _copy(self, key: str, file: IO[bytes]) -> bytes:
        md5 = hashlib.md5(usedforsecurity=False)
        file.seek(0)
        file.truncate()
        try:
            body = self._open(key)
            while block := body.read(_BLOCK):
                md5.update(block)
                file.write(block)
        except (BotoCoreError, ClientError) as error:
            raise self._explain(error, key) from error
        file.seek(0)
        return md5.digest()

    def _open(self, key: str) -> Any:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"]

    def _explain(self, error: Exception, key: str) -> Exception:
        return explain_aws(error, f"cannot read s3://{self.name}/{key}")
