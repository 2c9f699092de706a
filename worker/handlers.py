"""What a table's owner runs for each change, beside the index.

    from worker.tables import Handler, Insert, Table

    async def welcome(changes: Sequence[Insert[Post]]) -> None: ...

    posts = Table("posts", model=Post, handlers=[Handler("INSERT", welcome)])

A handler gets the changes of its kinds, a chunk at a time; it runs after the index, at least once
for each change, and so must bear to see one again. Pure declarations: `worker.calls` runs them.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, overload

from worker.errors import ConfigurationError
from worker.events import Event, Insert, Modify, Remove

__all__ = ["ChangesFailed", "Events", "Handler", "Strategy", "check_handlers", "longest_s"]

ItemT = TypeVar("ItemT")

Events: TypeAlias = Literal[
    "INSERT", "MODIFY", "REMOVE", "INSERT, MODIFY", "MODIFY, REMOVE", "INSERT, REMOVE", "ALL"
]
Strategy: TypeAlias = Literal["series", "concurrent"]

KINDS: Final[dict[str, frozenset[str]]] = {
    "INSERT": frozenset({"INSERT"}),
    "MODIFY": frozenset({"MODIFY"}),
    "REMOVE": frozenset({"REMOVE"}),
    "INSERT, MODIFY": frozenset({"INSERT", "MODIFY"}),
    "MODIFY, REMOVE": frozenset({"MODIFY", "REMOVE"}),
    "INSERT, REMOVE": frozenset({"INSERT", "REMOVE"}),
    "ALL": frozenset({"INSERT", "MODIFY", "REMOVE"}),
}

PAUSE_S: Final = 1.0
"""Before the second attempt; twice as long before the third, and so on."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
_ATTEMPTS: Final = 10
_LIMIT_S: Final = 3600.0


class ChangesFailed(Exception):  # noqa: N818 - it says what happened, as the owner would
    """Raise it in a handler to name the changes that failed; the others of the batch are done.

    changes: some of those that the handler was given, the same objects.
    """

    def __init__(self, changes: Iterable[Event[Any]], reason: str) -> None:
        super().__init__(reason)
        self.changes = tuple(changes)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Handler(Generic[ItemT]):
    """One function for the changes of one table. Options are arguments of `__init__`."""

    events: Events
    run: Callable[[Sequence[Any]], object]
    name: str
    attempts: int
    time_limit_s: float
    valve: bool
    on_error: Callable[[Exception, Sequence[Any]], object] | None

    @overload
    def __init__(
        self,
        events: Literal["INSERT"],
        run: Callable[[Sequence[Insert[ItemT]]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[[Exception, Sequence[Insert[ItemT]]], object] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        events: Literal["MODIFY"],
        run: Callable[[Sequence[Modify[ItemT]]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[[Exception, Sequence[Modify[ItemT]]], object] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        events: Literal["REMOVE"],
        run: Callable[[Sequence[Remove[ItemT]]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[[Exception, Sequence[Remove[ItemT]]], object] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        events: Literal["INSERT, MODIFY"],
        run: Callable[[Sequence[Insert[ItemT] | Modify[ItemT]]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[[Exception, Sequence[Insert[ItemT] | Modify[ItemT]]], object]
        | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        events: Literal["MODIFY, REMOVE"],
        run: Callable[[Sequence[Modify[ItemT] | Remove[ItemT]]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[[Exception, Sequence[Modify[ItemT] | Remove[ItemT]]], object]
        | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        events: Literal["INSERT, REMOVE"],
        run: Callable[[Sequence[Insert[ItemT] | Remove[ItemT]]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[[Exception, Sequence[Insert[ItemT] | Remove[ItemT]]], object]
        | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        events: Literal["ALL"],
        run: Callable[[Sequence[Insert[ItemT] | Modify[ItemT] | Remove[ItemT]]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[
            [Exception, Sequence[Insert[ItemT] | Modify[ItemT] | Remove[ItemT]]], object
        ]
        | None = None,
    ) -> None: ...

    def __init__(
        self,
        events: Events,
        run: Callable[[Sequence[Any]], object],
        *,
        name: str | None = None,
        attempts: int = 3,
        time_limit_s: float = 10.0,
        valve: bool = False,
        on_error: Callable[[Exception, Sequence[Any]], object] | None = None,
    ) -> None:
        """Declare a handler.

        events: the kinds of change it wants: one, two joined by ", ", or ALL.
        run: called with them, oldest first, never with none; a plain function or `async def`.
        name: by which dead letters find it again, so it must stay; default: the function's.
        attempts: how often it is tried before its changes are dead-lettered for it alone.
        time_limit_s: of each attempt. What it does past that is cut.
        valve: whether what it cannot do counts for the valve. Then too much of it at once stops the
            whole line, the index included, rather than becoming dead letters without end.
        on_error: called, or awaited, with the last error and the handler's own changes, before
            they are dead-lettered; it has the same time limit.

        Raises ConfigurationError, naming the option, for what cannot work.
        """
        chosen = getattr(run, "__name__", "") if name is None else name
        values = {
            "events": _check_events(events),
            "run": _check_function(run, "run"),
            "name": _check_name(chosen),
            "attempts": _check_number("attempts", attempts, 1, _ATTEMPTS),
            "time_limit_s": _check_number("time_limit_s", time_limit_s, 0.01, _LIMIT_S),
            "valve": _check_flag("valve", valve),
            "on_error": on_error if on_error is None else _check_function(on_error, "on_error"),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        return f"Handler({self.events!r}, name={self.name!r})"

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of change it wants."""
        return KINDS[self.events]

    @property
    def longest_s(self) -> float:
        """The longest it can take for one chunk: every attempt, the pauses, and the error hook."""
        hook = self.time_limit_s if self.on_error else 0.0
        return self.attempts * self.time_limit_s + sum(pauses(self.attempts)) + hook


def pauses(attempts: int) -> list[float]:
    """The pauses between so many attempts, in seconds."""
    return [PAUSE_S * 2**n for n in range(attempts - 1)]


def longest_s(handlers: Iterable[Handler[Any]], strategy: Strategy) -> float:
    """The longest that a chunk's handlers can take together."""
    each = [handler.longest_s for handler in handlers]
    return sum(each) if strategy == "series" else max(each, default=0.0)


def check_handlers(table: str, handlers: Iterable[Any], strategy: str) -> tuple[Handler[Any], ...]:
    """The handlers of a table. Raises ConfigurationError."""
    found = tuple(handlers)
    if strategy not in ("series", "concurrent"):
        raise ConfigurationError(
            f"table {table}: strategy is 'series' or 'concurrent', not {strategy!r:.80}"
        )
    for handler in found:
        if not isinstance(handler, Handler):
            raise ConfigurationError(f"table {table}: no Handler: {handler!r:.80}")
    names = [handler.name for handler in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"table {table}: two handlers have the name {twice[0]!r}",
            hint="dead letters are addressed by it: Handler(..., name=...)",
        )
    return found


def _check_events(events: str) -> str:
    if events not in KINDS:
        raise ConfigurationError(
            f"no kinds of change: {events!r:.80}", hint="one of " + "; ".join(KINDS)
        )
    return events


def _check_function(value: Any, option: str) -> Any:
    if not callable(value) or inspect.isasyncgenfunction(value):
        raise ConfigurationError(f"the handler's {option} is no function: {value!r:.80}")
    return value


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"no name of a handler: {name!r:.120}",
            hint="up to 80 letters, digits, hyphens, dots and underscores: Handler(..., name=...)",
        )
    return name


def _check_number(option: str, value: float, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigurationError(f"a handler's {option} is {least} to {most}, not {value!r:.40}")
    return value


def _check_flag(option: str, value: object) -> object:
    if not isinstance(value, bool):
        raise ConfigurationError(f"a handler's {option} is True or False, not {value!r:.40}")
    return value
