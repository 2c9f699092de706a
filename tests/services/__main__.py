"""`python -m tests.services prepare`: fetch and assemble every real service."""

import os
import sys
import time

from console.local.services import ServiceError
from tests.services.artefacts import find_cache, missing, prepare
from tests.services.catalogue import SERVICES, Artefact

USAGE = "usage: python -m tests.services prepare"


def main(arguments: list[str]) -> int:
    """Prepare all services; 0 when all are there, 1 when one is not, 2 for misuse."""
    if arguments != ["prepare"]:
        _say(USAGE)
        return 2
    _say(f"The real services lie in {find_cache(os.environ)}")
    prepared = [_prepare(artefact) for artefact in SERVICES.values()]
    return 0 if all(prepared) else 1


def _prepare(artefact: Artefact) -> bool:
    name = f"{artefact.name} {artefact.version}"
    reason = missing(artefact.name)
    if reason:
        _say(f"missing   {reason}")
        return False
    present = (find_cache(os.environ) / artefact.folder).is_dir()
    begun = time.monotonic()
    try:
        prepare(artefact)
    except ServiceError as error:
        _say(f"failed    {name}: {error}")
        return False
    _say(
        f"present   {name}" if present else f"assembled {name} in {time.monotonic() - begun:.1f} s"
    )
    return True


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
