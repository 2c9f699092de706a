"""The table of one run under faults. What an item says in `do`, its document function does."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from worker.tables import Handler, Insert, Modify, Table

RUN = os.environ.get("FAULTS_RUN", "run")


class Defective(dict[str, Any]):
    """A document whose reading fails, in words that quote it: past what is taken for a refusal."""

    def __iter__(self) -> Iterator[str]:
        try:
            return iter([str(int(self["canary"]))])
        except ValueError as error:
            raise KeyError(f"no number: {self['canary']}") from error

    def keys(self) -> Any:
        return list(self)


def warn(item: dict[str, Any]) -> dict[str, Any]:
    warnings.warn(f"odd: {item['canary']}", UserWarning, stacklevel=2)
    return item


def refuse(item: dict[str, Any]) -> dict[str, Any]:
    return {"number": int(item["canary"])}


def vanish(item: dict[str, Any]) -> NoReturn:
    os._exit(7)


def oversleep(item: dict[str, Any]) -> dict[str, Any]:
    time.sleep(600)
    return item


def hang(item: dict[str, Any]) -> dict[str, Any]:
    obey("hang")
    return item


class Swelling(dict[str, Any]):
    """A document for which memory runs out, outside the owner's function."""

    def __iter__(self) -> NoReturn:
        raise MemoryError

    def keys(self) -> NoReturn:
        raise MemoryError


ALWAYS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "exit": lambda _: sys.exit("enough"),
    "hang!": hang,
    "oversleep": oversleep,
    "swell": Swelling,
    "vanish": vanish,
    "defect": Defective,
    "refuse": refuse,
    "warn": warn,
}
"""What goes wrong every time."""


def write(item: dict[str, Any]) -> dict[str, Any]:
    until = os.environ.get("FAULTS_BAD_UNTIL")
    if os.environ.get("FAULTS_BAD_DEPLOY") or (until and not Path(until).exists()):
        raise ValueError("a bad deploy")
    verb, _, flag = str(item.get("do", "")).partition(" ")
    if verb in ALWAYS:
        return ALWAYS[verb](item)
    if verb and not Path(flag).exists():
        Path(flag).touch()
        obey(verb)
    return item


def obey(verb: str) -> None:
    """What goes wrong once, in the process that writes the document."""
    match verb:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(600)
        case "hang":  # deaf to whatever is raised in it, as code of C may be
            deadline = time.monotonic() + 600
            while time.monotonic() < deadline:
                try:
                    time.sleep(1)
                except BaseException:  # noqa: BLE001, S112 - deaf is what it is
                    continue


def notify(changes: Sequence[Insert[Any] | Modify[Any]]) -> None:
    """A handler of the owner's: it tells nobody, unless it is broken."""
    until = os.environ.get("FAULTS_BAD_HANDLER_UNTIL")
    if until and not Path(until).exists():
        raise KeyError("nobody to tell")


guarded = Handler("INSERT, MODIFY", notify, attempts=1, valve=True)
posts: Table[Any] = Table(
    f"{RUN}-posts",
    document=write,
    handlers=[guarded] if "FAULTS_BAD_HANDLER_UNTIL" in os.environ else [],
)
