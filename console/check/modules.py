"""The tables that a name means: a declared table, or a module's."""

import importlib
import traceback
from pathlib import Path
from typing import Any

import worker
from console.errors import MisuseError
from worker.errors import ConfigurationError, SluiceError
from worker.tables import Table, load_tables


class BrokenModuleError(SluiceError):
    """A tables module fails when it is imported. Its owner mends it before deploying."""


def find_tables(target: str, modules: str) -> list[Table[Any]]:
    """The table of that name or alias in `modules`, or the tables of the module of that name.

    modules: SLUICE_TABLES. Raises BrokenModuleError, ConfigurationError, MisuseError.
    """
    names = [name.strip() for name in modules.split(",") if name.strip()]
    for name in names:
        _import(name)
    if names:
        for table in load_tables(modules).values():
            if target in (table.name, table.alias):
                return [table]
    if not all(part.isidentifier() for part in target.split(".")):
        raise MisuseError(f"there is no table {target!r:.200} in SLUICE_TABLES", hint=_hint(names))
    try:
        _import(target)
    except MisuseError as error:
        raise MisuseError(
            f"{target!r:.200} is neither a table of SLUICE_TABLES nor a module", hint=_hint(names)
        ) from error
    return list(load_tables(target).values())


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name is not None
        if absent and f"{name}.".startswith(f"{error.name}."):  # type: ignore[union-attr]
            raise MisuseError(
                f"there is no module {name}", hint="is its folder on PYTHONPATH?"
            ) from error
        raise BrokenModuleError(_explain(name, error)) from error


def _explain(name: str, error: BaseException) -> str:
    """The owner's error, and the owner's line: not one of ours, nor of the import system."""
    ours = str(Path(worker.__file__ or "").parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<frozen", __file__, importlib.__file__))
    ]
    place = f" at {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    kind = "" if isinstance(error, ConfigurationError) else f"{type(error).__name__}: "
    return f"the module {name} fails{place}: {kind}{error}"


def _hint(names: list[str]) -> str:
    if not names:
        return "name a module, or set SLUICE_TABLES"
    return f"SLUICE_TABLES is {', '.join(names)}"
