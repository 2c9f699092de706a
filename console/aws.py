"""Errors of AWS, in words of ours: named by what happens next."""

from typing import Final

from botocore.exceptions import (
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as AwsConnectionError,
)

from console.errors import MisuseError
from worker.errors import SluiceError, UnavailableError

_CREDENTIALS: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

_MISSING: Final = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchKey",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)


_NETWORK: Final = "check AWS_REGION, AWS_ENDPOINT_URL and the network on the way there"


def explain_aws(error: Exception, what: str) -> SluiceError:
    """An error of botocore as one of ours: MisuseError if asking again is no use.

    what: what could not be done.
    """
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return MisuseError(f"{what}: no AWS credentials", hint="set up the credentials of AWS")
    if not isinstance(error, ClientError):
        hint = _NETWORK if isinstance(error, AwsConnectionError | HTTPClientError) else ""
        return UnavailableError(f"{what}: {type(error).__name__}: {error!s:.300}", hint=hint)
    code, words = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    said = f"{what}: {code}: {words!s:.300}"
    if code in _CREDENTIALS:
        return MisuseError(said, hint="check the AWS credentials and what they permit")
    if code in _MISSING:
        return MisuseError(said, hint="check the name, the account and AWS_REGION")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if 400 <= status < 500 and status != 429:
        return MisuseError(said)
    return UnavailableError(said)
