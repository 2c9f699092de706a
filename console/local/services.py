"""The embedded services, Python packages alone: moto for the AWS side, osmem for the search.

Both forget everything when they end, and neither is the real thing: the integration tests run the
same suite on DynamoDB Local, ElasticMQ and Elasticsearch.
"""

import importlib.util
import sys
from pathlib import Path

from console.local.process import (
    HOST,
    Recipe,
    Service,
    ServiceError,
    ServiceFailedError,
    ServiceMissingError,
    start,
)

__all__ = [
    "Service",
    "ServiceError",
    "ServiceFailedError",
    "ServiceMissingError",
    "start_moto",
    "start_osmem",
]

INSTALL_HINT = "Install the extras of the demo: pip install -e '.[demo]'"
# As `python -m moto.server`, without the line that its web server would write for every request.
MOTO = (
    "import logging; logging.getLogger('werkzeug').setLevel(logging.ERROR); "
    "from moto.server import main; main()"
)


def start_moto(directory: Path, *, port: int | None = None) -> Service:
    """Start one moto server for DynamoDB, its streams, SQS and S3; its log lies in `directory`.

    Raises ServiceMissingError without the demo's extras, ServiceFailedError when it does not
    come up.
    """
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        raise ServiceMissingError("moto, the embedded AWS, is not installed.", INSTALL_HINT)
    return start(Recipe("moto", _build_moto_command, "/moto-api/"), directory, port)


def start_osmem(directory: Path, *, port: int | None = None) -> Service:
    """Start osmem, a server that speaks as Elasticsearch does; its log lies in `directory`.

    It answers 406 to the vendor media types of elasticsearch-py: send plain `application/json` and
    `application/x-ndjson`. Raises ServiceMissingError without the demo's extras,
    ServiceFailedError when it does not come up.
    """
    binary = find_osmem()

    def build_command(port: int) -> list[str]:
        return [str(binary), "-addr", f"{HOST}:{port}", "-no-stdin-watch"]

    return start(Recipe("osmem", build_command, "/_cluster/health"), directory, port)


def find_osmem() -> Path:
    """The server that osmem's package brings; raises ServiceMissingError when there is none."""
    package = importlib.util.find_spec("osmem_server")
    if package is None or package.origin is None:
        raise ServiceMissingError(
            "osmem, the embedded search engine, is not installed.", INSTALL_HINT
        )
    binary = Path(package.origin).parent / "bin" / "osmem-server"
    if not binary.exists():
        raise ServiceMissingError(
            f"The installed osmem-server package brings no server for {sys.platform}.",
            "Install a wheel for it: pip install --only-binary :all: osmem-server",
        )
    return binary


def _build_moto_command(port: int) -> list[str]:
    return [sys.executable, "-P", "-c", MOTO, "-H", HOST, "-p", str(port)]
