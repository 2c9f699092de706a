"""What the figures were taken on: nothing that names a host, a person or a folder."""

import os
import platform
import zlib
from importlib.metadata import version

import orjson
import psutil

from tests.services.catalogue import SERVICES


def read_machine() -> dict[str, object]:
    """Cores, memory, versions, and how busy the machine was when asked."""
    return {
        "cores": os.cpu_count() or 0,
        "memory": f"{psutil.virtual_memory().total // 2**30} GiB",
        "processor": platform.machine(),
        "Python": platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "elasticsearch-py": version("elasticsearch"),
        "orjson": orjson.__version__,
        "celery": version("celery"),
        "Elasticsearch": SERVICES["elasticsearch-8"].version,
        "load at start": round(os.getloadavg()[0], 1),
    }
