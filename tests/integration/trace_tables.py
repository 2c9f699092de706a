"""A table whose key is composite and holds binaries; named by its run, as `tests.upkeep.tables`."""

import os
from typing import Any

from worker.tables import Table

blobs: Table[Any] = Table(f"{os.environ.get('UPKEEP_RUN', 'run')}-blobs")
