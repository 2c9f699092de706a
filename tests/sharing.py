"""How the processes of a run share the suite: a file's tests on one engine stay together.

A file keeps what it has started for its module, and the parts of a long one run side by side. The
longest come first: one that begins last is waited for by processes that have nothing left to do.
"""

import re
from typing import Final

from xdist.scheduler import LoadScopeScheduling

from tests.services.engines import CLUSTER, EMBEDDED, REAL_ENGINES

LONGEST: Final = (
    "integration/test_transport.py",
    "faults/test_elasticsearch_faults.py",
    "faults/test_fuzz.py",
    "e2e/test_demo.py",
    "integration/test_rebuild.py",
    "faults/test_long_outages.py",
    "chaos/test_chaos.py",
    "convergence/test_convergence.py",
    "integration/test_services.py",
    "faults/test_process_faults.py",
    "integration/test_verify.py",
    "faults/test_outages_in_part.py",
    "e2e/test_pipeline.py",
    "e2e/test_tutorial.py",
)
"""Files of half a minute and more, the longest first."""

_ENGINE: Final = re.compile(rf"[\[-]({'|'.join((EMBEDDED, CLUSTER, *REAL_ENGINES))})(?=[]-])")


def scope_of(test: str) -> str:
    """What a test (node id) must share a process with: its file, and its engine if it names one."""
    file, _, rest = test.partition("::")
    engine = _ENGINE.search(rest)
    return f"{file}[{engine[1]}]" if engine else file


def rank(test: str) -> int:
    """The place of a test (node id) among all: 0 comes first."""
    file = test.partition("::")[0].removeprefix("tests/")
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


class FileAndEngine(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Hands out a file's tests on one engine as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
