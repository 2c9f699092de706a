"""What a table's owner declares: which table, into which index, shaped how.

    from worker.tables import Table

    posts = Table("posts")

is enough: every attribute is indexed as it is, into the alias ``posts``. `SLUICE_TABLES` names the
modules that hold such declarations.
"""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, overload

from pydantic import BaseModel

from worker.errors import ConfigurationError
from worker.events import Event, Insert, Metadata, Modify, Remove
from worker.handlers import ChangesFailed, Handler, Strategy, check_handlers
from worker.mappings import compare_mappings, make_body, read_declaration
from worker.models import dump

__all__ = [
    "ChangesFailed",
    "Document",
    "Event",
    "Handler",
    "Insert",
    "Metadata",
    "Modify",
    "Remove",
    "Table",
    "Undeclared",
    "compare_mappings",
    "dump",
    "index_body",
    "load_tables",
]

Document: TypeAlias = Mapping[str, Any] | BaseModel | None
"""What a document function returns. None hides the item from search."""

Undeclared: TypeAlias = Literal["keep", "refuse"]

ItemT = TypeVar("ItemT")
ModelT = TypeVar("ModelT", bound=BaseModel)

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}", re.ASCII)
_ALIAS_FORBIDDEN = re.compile(r'[\\/*?"<>| ,#:\x00-\x1f]')
_ALIAS_BYTES: Final = 220
"""255 is Elasticsearch's limit for a name (Create index API); the rest is for our suffixes."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Table(Generic[ItemT]):
    """One DynamoDB table and the index it goes to. Options are keyword arguments of `__init__`.

    ItemT: what the document function takes: the model, or without one the item as a dict.
    """

    name: str
    alias: str
    """Readers search this. Only live documents are behind it."""
    mappings: Mapping[str, Any]
    """The declared mapping in full form, without what Sluice adds."""
    settings: Mapping[str, Any]
    model: type[BaseModel] | None
    document: Callable[[Any], Document] | None
    routing: tuple[str, ...]
    undeclared: Undeclared
    version: int
    previous: "Table[Any] | None"
    handlers: tuple[Handler[ItemT], ...]
    strategy: Strategy

    @overload
    def __init__(
        self: "Table[dict[str, Any]]",
        name: str,
        *,
        alias: str | None = None,
        mappings: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        model: None = None,
        document: Callable[[dict[str, Any]], Document] | None = None,
        routing: str | tuple[str, ...] = (),
        version: int = 1,
        previous: "Table[Any] | None" = None,
        handlers: Sequence[Handler[dict[str, Any]]] = (),
        strategy: Strategy = "series",
    ) -> None: ...

    @overload
    def __init__(
        self: "Table[ModelT]",
        name: str,
        *,
        alias: str | None = None,
        mappings: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        model: type[ModelT],
        document: Callable[[ModelT], Document] | None = None,
        routing: str | tuple[str, ...] = (),
        undeclared: Undeclared | None = None,
        version: int = 1,
        previous: "Table[Any] | None" = None,
        handlers: Sequence[Handler[ModelT]] = (),
        strategy: Strategy = "series",
    ) -> None: ...

    def __init__(
        self,
        name: str,
        *,
        alias: str | None = None,
        mappings: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        model: type[BaseModel] | None = None,
        document: Callable[[Any], Document] | None = None,
        routing: str | tuple[str, ...] = (),
        undeclared: Undeclared | None = None,
        version: int = 1,
        previous: "Table[Any] | None" = None,
        handlers: Sequence[Handler[Any]] = (),
        strategy: Strategy = "series",
    ) -> None:
        """Declare a table.

        name: of the DynamoDB table. Its key attributes need no declaration.
        alias: of the index; default: the table's name in lower case.
        mappings: an Elasticsearch mapping, or its `properties` alone.
        settings: of the index.
        model: a pydantic model that every item must satisfy; one that does not is dead-lettered.
        document: from the model (without one: the item) to what is indexed; None hides the item.
        routing: key attributes whose items share a shard; default: each item for itself.
        undeclared: attributes that the model does not declare, at any depth, are kept or refused,
            whatever nested models say of `extra`. Default: kept, unless the model forbids them.
        version: of the index. Raise it with each change of mappings, settings, model or document
            function, and rebuild (docs/rebuild.md); no version ever means two declarations.
        previous: the declaration of the version before, until its index is gone.
        handlers: what else is done with each change (docs/handlers.md).
        strategy: whether handlers run one after the other, or all at once.

        Raises ConfigurationError, naming the option, for what cannot work.
        """
        values = {
            "name": _check_name(name),
            "alias": _choose_alias(name, alias),
            "mappings": _read_mappings(name, mappings or {}, routed=bool(routing)),
            "settings": _read_settings(name, settings or {}),
            "model": _check_model(name, model),
            "document": _check_document(name, document),
            "routing": _read_routing(name, routing),
            "undeclared": _read_undeclared(name, undeclared, model),
            "version": _check_version(name, version),
            "previous": previous,
            "handlers": check_handlers(name, handlers, strategy),
            "strategy": strategy,
        }
        _check_previous(values, previous)
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        return f"Table({self.name!r}, alias={self.alias!r})"

    @property
    def write_alias(self) -> str:
        """The alias this version is written through, alone: every document, tombstones too.

        It is there only while the cluster is at this version: `worker.view` says what is.
        """
        return f"{self.alias}-write" if self.version == 1 else f"{self.alias}-write-v{self.version}"

    def beside(self, other: int) -> str:
        """The alias this version is written through while another is written, too."""
        return f"{self.alias}-write-v{self.version}-beside-v{other}"

    def declarations(self) -> "tuple[Table[Any], ...]":
        """This declaration and those before it, newest first."""
        return (self, *(self.previous.declarations() if self.previous else ()))

    def declaration(self, version: int) -> "Table[Any] | None":
        """What the index of this version was made from, if it is still declared."""
        return next((one for one in self.declarations() if one.version == version), None)

    def index_name(self, version: int) -> str:
        """The index of one version. Nobody but Sluice addresses it."""
        return f"{self.alias}-v{version}"


def index_body(table: Table[Any]) -> dict[str, Any]:
    """What to create the table's index with: {"settings": ..., "mappings": ...}."""
    return make_body(table.name, table.mappings, table.settings)


def load_tables(module_names: str) -> Mapping[str, Table[Any]]:
    """Import the modules, comma-separated, and collect their Table objects, by table name.

    Raises ConfigurationError for a module that cannot be imported or declares no table, and for
    two tables that would share a name, an alias or an index.
    """
    names = [name.strip() for name in module_names.split(",") if name.strip()]
    if not names:
        raise ConfigurationError(
            "SLUICE_TABLES names no module", hint="for example SLUICE_TABLES=examples.posts.tables"
        )
    tables: dict[str, Table[Any]] = {}
    for name in names:
        for table in _find_tables(_import(name)):
            if tables.get(table.name, table) is not table:
                raise ConfigurationError(
                    f"the table {table.name} is declared twice, again in {name}"
                )
            tables[table.name] = table
    _check_apart(list(tables.values()))
    return MappingProxyType(tables)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"the module {name} of SLUICE_TABLES fails: {error}"
            ) from error
        raise ConfigurationError(
            f"SLUICE_TABLES names {name}, but there is no module {error.name}",
            hint="is its folder on PYTHONPATH, or the current one?",
        ) from error
    except (Exception, SystemExit) as error:  # the owner's code: its own words are the message
        raise ConfigurationError(
            f"the module {name} of SLUICE_TABLES fails: {type(error).__name__}: {error}"
        ) from error


def _find_tables(module: ModuleType) -> list[Table[Any]]:
    named = [value for value in vars(module).values() if isinstance(value, Table)]
    # A declaration that another one follows is that one's `previous`, whatever name it has.
    followed = {id(old) for table in named for old in table.declarations()[1:]}
    found = [table for table in named if id(table) not in followed]
    if not found:
        raise ConfigurationError(
            f"the module {module.__name__} of SLUICE_TABLES declares no table",
            hint='put one at its top level: posts = Table("posts")',
        )
    return found


def _check_apart(tables: list[Table[Any]]) -> None:
    """No name that one table uses may mean something else to another."""
    for table in tables:
        taken = re.compile(
            rf"{re.escape(table.alias)}(-v[0-9]+|-write(-v[0-9]+(-beside-v[0-9]+)?)?)?"
        )
        for other in tables:
            if other is not table and taken.fullmatch(other.alias):
                raise ConfigurationError(
                    f"the tables {table.name} and {other.name} would share the name {other.alias}",
                    hint="give one of them another alias: Table(..., alias=...)",
                )


def _check_name(name: str) -> str:
    if not isinstance(name, str) or not _TABLE.fullmatch(name):
        raise ConfigurationError(
            f"no name of a DynamoDB table: {name!r:.300}",
            hint="3 to 255 letters, digits, hyphens, dots and underscores",
        )
    return name


def _choose_alias(name: str, alias: str | None) -> str:
    chosen = name.lower() if alias is None else alias
    problem = _find_fault(chosen)
    if problem:
        raise ConfigurationError(
            f"table {name}: the alias {chosen!r:.300} {problem}",
            hint="give it one: Table(..., alias=...)" if alias is None else "",
        )
    return chosen


def _find_fault(alias: str) -> str | None:
    """Rules of Elasticsearch for index names (Create index API); aliases follow most of them."""
    if not isinstance(alias, str) or not alias:
        return "is no text"
    if alias != alias.lower():
        return "is not in lower case"
    if alias[0] in "-_+.":
        return f"starts with {alias[0]!r}"
    forbidden = _ALIAS_FORBIDDEN.search(alias)
    if forbidden:
        return f"holds {forbidden.group()!r}"
    if len(alias.encode(errors="replace")) > _ALIAS_BYTES:
        return f"is longer than {_ALIAS_BYTES} bytes"
    return None


def _read_mappings(name: str, mappings: Mapping[str, Any], *, routed: bool) -> Mapping[str, Any]:
    given = dict(_check_mapping(name, "mappings", mappings))
    try:
        return MappingProxyType(read_declaration(given, routed=routed))
    except ValueError as error:
        raise ConfigurationError(f"table {name}: {error}") from error


def _check_mapping(name: str, option: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"table {name}: {option} is no mapping but {value!r:.80}")
    return value


def _read_settings(name: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return MappingProxyType(
            json.loads(json.dumps(dict(_check_mapping(name, "settings", settings))))
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"table {name}: settings are no JSON: {error}") from error


def _check_model(name: str, model: type[BaseModel] | None) -> type[BaseModel] | None:
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ConfigurationError(f"table {name}: the model is no pydantic model: {model!r:.80}")
    return model


def _check_document(
    name: str, document: Callable[[Any], Document] | None
) -> Callable[[Any], Document] | None:
    if document is not None and not callable(document):
        raise ConfigurationError(f"table {name}: document is no function: {document!r:.80}")
    if inspect.iscoroutinefunction(document):
        raise ConfigurationError(f"table {name}: document must be a plain function, not async")
    return document


def _read_routing(name: str, routing: str | tuple[str, ...]) -> tuple[str, ...]:
    attributes = (routing,) if isinstance(routing, str) else tuple(routing)
    if not all(isinstance(attribute, str) and attribute for attribute in attributes):
        raise ConfigurationError(f"table {name}: routing names no attribute: {routing!r:.80}")
    if len(set(attributes)) != len(attributes) or len(attributes) > 2:
        raise ConfigurationError(
            f"table {name}: routing takes one or both key attributes, not {routing!r:.80}"
        )
    return attributes


def _check_version(name: str, version: int) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 10**6:
        raise ConfigurationError(f"table {name}: version is a number from 1, not {version!r:.40}")
    return version


def _check_previous(values: Mapping[str, Any], previous: object) -> None:
    """A rebuild moves documents between indexes of one alias, under the same ids and routings."""
    if previous is None:
        return
    name = values["name"]
    if not isinstance(previous, Table):
        raise ConfigurationError(f"table {name}: previous is no Table: {previous!r:.80}")
    for option in ("name", "alias", "routing"):
        if getattr(previous, option) != values[option]:
            raise ConfigurationError(
                f"table {name}: its previous declaration has another {option}:"
                f" {getattr(previous, option)!r:.80}"
            )
    if previous.version >= values["version"]:
        raise ConfigurationError(
            f"table {name}: version {values['version']} is not above that of its previous"
            f" declaration, {previous.version}"
        )


def _read_undeclared(
    name: str, undeclared: Undeclared | None, model: type[BaseModel] | None
) -> Undeclared:
    if undeclared not in (None, "keep", "refuse"):
        raise ConfigurationError(
            f"table {name}: undeclared is 'keep' or 'refuse', not {undeclared!r:.80}"
        )
    if model is None and undeclared == "refuse":
        raise ConfigurationError(f"table {name}: undeclared='refuse' needs a model")
    forbids = model is not None and model.model_config.get("extra") == "forbid"
    return undeclared or ("refuse" if forbids else "keep")
