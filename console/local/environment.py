"""The environment of the local pipeline: fake accounts, the services' addresses, our settings."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from console.local.process import build_environment
from console.local.workers import ROOT

REGION: Final = "us-east-1"

FAKES: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Nothing that reaches a real account, nor reads the caller's configuration of one."""

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def build_private_environment(
    source: Mapping[str, str], settings: Mapping[str, str]
) -> dict[str, str]:
    """What a process of the pipeline gets: `source` without accounts, settings and proxies of the
    caller, then fake credentials and `settings`."""
    kept = {n: v for n, v in build_environment(source).items() if n.upper() not in _PROXIES}
    path = os.pathsep.join(filter(None, [str(ROOT), os.getcwd(), source.get("PYTHONPATH", "")]))
    return {**kept, "PYTHONPATH": path, **FAKES, **settings}


@contextmanager
def environment_of(wanted: Mapping[str, str]) -> Iterator[None]:
    """Make `wanted` the environment of this process for a while: boto3 reads it while it makes a
    client. For a moment with one thread only."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
