"""The real services that the tests run on, fetched by Maven and run by Java: no container needed.

`python -m tests.services prepare` fetches them all; each `start_*` fetches its own when it must.
"""

from console.local.services import Service, ServiceError, ServiceFailedError, ServiceMissingError
from tests.services.artefacts import missing
from tests.services.catalogue import SERVICES
from tests.services.servers import start_dynamodb_local, start_elasticmq, start_elasticsearch

__all__ = [
    "SERVICES",
    "Service",
    "ServiceError",
    "ServiceFailedError",
    "ServiceMissingError",
    "missing",
    "start_dynamodb_local",
    "start_elasticmq",
    "start_elasticsearch",
]
