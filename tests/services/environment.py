"""The environment of a test run: nothing of the caller's, nothing that reaches a real account."""

import os
from collections.abc import MutableMapping

PRIVATE_PREFIXES = ("AWS_", "SLUICE_", "MOTO_")
# Where the tests themselves are configured.
KEPT_PREFIX = "SLUICE_TEST_"
# A proxy would be asked for loopback addresses too.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
FAKES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def is_private(name: str) -> bool:
    """Whether a variable of this name belongs to the caller and not to the tests."""
    if name.startswith(KEPT_PREFIX):
        return False
    return name.startswith(PRIVATE_PREFIXES) or name.upper() in PROXIES


def scrub(environment: MutableMapping[str, str]) -> None:
    """Take out what is private to the caller and put fake credentials in."""
    for name in [name for name in environment if is_private(name)]:
        del environment[name]
    environment.update(FAKES)
