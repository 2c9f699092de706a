"""The edge to the overflow bucket: images too large for a message."""

from typing import TYPE_CHECKING, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from producer.contract import INFLATED_BYTES, Change, ContractError, read_images
from worker.errors import RefusedError, UnavailableError
from worker.overtime import awaited

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


_NO_OBJECT: Final = ("NoSuchKey", "404", "KeyTooLongError", "InvalidURI")
"""Answers that speak of the key, whoever chose it (Amazon S3 API reference, error responses)."""


class Overflow(Protocol):
    """Where claim checks are redeemed."""

    def fetch(self, change: Change) -> Change:
        """The change with its images.

        Raises RefusedError if they are not there or are not what the change names;
        UnavailableError when the bucket does not answer.
        """


class Bucket:
    """`Overflow` in S3. It reads the configured bucket only, whatever a message says."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def fetch(self, change: Change) -> Change:
        if change.overflow is None:
            return change
        if not self._bucket:
            raise RefusedError(
                "OverflowMissing", "the change lies in the overflow bucket, and none is configured"
            )
        key = change.overflow.key
        try:
            with awaited("the overflow bucket"):
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
                # Incompressible images grow by less than a thousandth (zlib, "Technical Details").
                content = answer["Body"].read(INFLATED_BYTES * 1001 // 1000)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_OBJECT:
                raise RefusedError(
                    "OverflowMissing", f"no object {key!r} in the overflow bucket"
                ) from error
            raise UnavailableError(f"cannot read the overflow bucket: {error}") from error
        except BotoCoreError as error:
            raise UnavailableError(f"cannot read the overflow bucket: {error}") from error
        try:
            return read_images(change, content)
        except ContractError as error:
            raise RefusedError("OverflowUnreadable", f"object {key!r}: {error}") from error
