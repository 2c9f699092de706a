"""The tables of one convergence run; names come from its environment, so that runs never meet."""

import os
from typing import Any

from worker.tables import Table

_RUN = os.environ.get("CONVERGENCE_RUN", "run")

live: Table[Any] = Table(f"{_RUN}-live")
late: Table[Any] = Table(f"{_RUN}.late", alias=f"{_RUN}-late", routing=("id",))
hot: Table[Any] = Table(f"{_RUN}_hot")
stirred: Table[Any] = Table(f"{_RUN}-stirred")
