"""Pydantic models in and out, without losing what they do not declare."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, RootModel

from worker.errors import RefusedError


def dump(model: BaseModel) -> dict[str, Any]:
    """A model's fields under their aliases, and what it took in without declaring it.

    Use it in a `document` function where you would use `model.model_dump()`: that one leaves
    undeclared attributes out, at any depth, unless each model itself says `extra="allow"`
    (pydantic 2.14, seen). Values are Python values; Sluice makes JSON of them afterwards.
    Raises RefusedError if an undeclared attribute has the name that a field is given.
    """
    dumped = model.model_dump(by_alias=True, warnings=False)
    whole = _restore(model, dumped)
    if not isinstance(whole, dict):
        raise TypeError(f"{type(model).__name__} dumps to {type(whole).__name__}, not to a dict")
    return whole


def _restore(value: Any, dumped: Any) -> Any:
    """`dumped` with the undeclared attributes of each model in `value`, side by side."""
    if isinstance(value, RootModel):
        return _restore(value.root, dumped)
    if isinstance(dumped, dict):
        return _restore_object(value, dumped)
    both = isinstance(value, list | tuple) and isinstance(dumped, list | tuple)
    if both and len(value) == len(dumped):
        return [_restore(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped


def _restore_object(value: object, dumped: dict[Any, Any]) -> dict[Any, Any]:
    if isinstance(value, BaseModel):
        return _restore_model(value, dumped)
    if isinstance(value, Mapping) and dumped.keys() <= value.keys():
        return {**value, **{name: _restore(value[name], dumped[name]) for name in dumped}}
    if is_dataclass(value) and not isinstance(value, type):
        return _restore_dataclass(value, dumped)
    return dumped


def _restore_model(model: BaseModel, dumped: dict[str, Any]) -> dict[str, Any]:
    declared = type(model).model_fields
    for name, field in declared.items():
        key = field.serialization_alias or field.alias or name
        if key in dumped:
            dumped[key] = _restore(getattr(model, name), dumped[key])
    own = type(model).model_config.get("extra") == "allow"
    for name, value in (model.model_extra or {}).items():
        if name in dumped and not own:
            raise RefusedError(
                "AmbiguousAttribute",
                f"{type(model).__name__} gives one of its fields the name of {name!r:.80}, "
                "an attribute that it does not declare",
            )
        dumped.setdefault(name, value)
    return dumped


def _restore_dataclass(value: Any, dumped: dict[str, Any]) -> dict[str, Any]:
    declared = {field.name for field in fields(value)}
    for name, member in getattr(value, "__dict__", {}).items():
        if name not in declared and not name.startswith("__"):
            dumped.setdefault(name, member)
        elif name in dumped:
            dumped[name] = _restore(member, dumped[name])
    return dumped
