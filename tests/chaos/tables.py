"""The table of a chaos run; its name comes from the environment, so that runs never meet."""

import os
from typing import Any

from worker.tables import Table

posts: Table[Any] = Table(
    f"{os.environ.get('CHAOS_RUN', 'run')}-posts",
    mappings={"properties": {"views": {"type": "long"}, "title": {"type": "text"}}},
)
