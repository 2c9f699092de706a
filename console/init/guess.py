"""From the shape of a sample to fields of a model, and to a mapping. Pure.

Every guess says what it was made from, so that its owner can judge it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from console.init.names import IMPORTED, class_name, document_name, field_name, singular
from console.init.shape import Shape

SURE: Final = 20
"""An attribute is required if it was in each of at least so many items."""

DEPTH: Final = 4
"""Models within models, before a map is a plain dict."""

UNSEARCHED: Final[Mapping[str, Any]] = {"type": "object", "enabled": False}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a model, and of the document."""

    attribute: str
    name: str
    document: str
    annotation: str
    required: bool
    mapping: Mapping[str, Any] | None
    why: str
    example: Any
    strict: bool
    """Whether its model surely refuses an object in its place."""


@dataclass(frozen=True, slots=True)
class Model:
    """One class. Those that it uses stand before it."""

    name: str
    fields: tuple[Field, ...]
    top: bool


def guess_models(table: str, shape: Shape, key: Mapping[str, str]) -> list[Model]:
    """The models of a table's items, the item's own last."""
    guesser = _Guesser(taken={*IMPORTED, *_walk_names(shape)})
    guesser.model(singular(table), shape, key, 0)
    return guesser.models


def _walk_names(shape: Shape) -> set[str]:
    """Every attribute's name: no class shall have it, for a field may."""
    names = set(shape.members)
    for member in [*shape.members.values(), *([shape.elements] if shape.elements else [])]:
        names |= _walk_names(member)
    return names


class _Guesser:
    def __init__(self, taken: set[str]) -> None:
        self.models: list[Model] = []
        self._taken = taken

    def model(self, called: str, shape: Shape, key: Mapping[str, str], depth: int) -> Model:
        name = class_name(called, self._taken)
        self._taken.add(name)
        fields: dict[str, Field] = {}
        documents: set[str] = set()
        order = [*key, *sorted(shape.members.keys() - key.keys())]
        for attribute in order:
            made = self._field(
                f"{name} {attribute}",
                shape.members[attribute],
                shape.kinds["M"],
                is_key=attribute in key,
                depth=depth,
                names=(
                    attribute,
                    field_name(attribute, fields),
                    document_name(attribute, documents, top=depth == 0),
                ),
            )
            fields[made.name] = made
            documents.add(made.document)
        model = Model(name, tuple(fields.values()), depth == 0)
        self.models.append(model)
        return model

    def _field(
        self,
        called: str,
        member: Shape,
        of: int,
        *,
        is_key: bool,
        depth: int,
        names: tuple[str, str, str],
    ) -> Field:
        required = is_key or (member.count == of >= SURE)
        annotation, mapping, example = self._guess(called, member, depth)
        if is_key and mapping is not None and mapping["type"] in ("text", "binary"):
            mapping = {"type": "keyword"}
        if (member.nullable or not required) and annotation != "None":
            annotation += " | None"
        attribute, name, document = names
        return Field(
            attribute=attribute,
            name=name,
            document=document,
            annotation="Any" if annotation == "None" else annotation,
            required=required,
            mapping=mapping,
            why=_explain(member, of, is_key, mapping),
            example=example,
            strict=member.scalar,
        )

    def _guess(
        self, called: str, shape: Shape, depth: int
    ) -> tuple[str, Mapping[str, Any] | None, Any]:
        """Annotation, mapping and an example that is nobody's."""
        if shape.record and depth < DEPTH:
            model = self.model(called, shape, {}, depth + 1)
            properties = {f.document: dict(f.mapping) for f in model.fields if f.mapping}
            example = {f.attribute: f.example for f in model.fields}
            return model.name, {"type": "object", "properties": properties}, example
        if shape.types == {"L"} and shape.elements and shape.elements.types:
            one, mapping, example = self._guess(called, shape.elements, depth)
            null = " | None" if shape.elements.nullable else ""
            return f"list[{one}{null}]", mapping, [example]
        annotation = " | ".join(dict.fromkeys(_annotate(k, shape) for k in sorted(shape.types)))
        return annotation or "None", _map(shape), _example(shape)


def _annotate(kind: str, shape: Shape) -> str:
    number = "int" if shape.whole else "Decimal"
    return {
        "S": "str",
        "N": number,
        "B": "bytes",
        "BOOL": "bool",
        "SS": "set[str]",
        "NS": f"set[{number}]",
        "BS": "set[bytes]",
        "L": "list[Any]",
    }.get(kind, "dict[str, Any]")


def _map(shape: Shape) -> Mapping[str, Any] | None:
    types = shape.types
    if not types or (types == {"L"} and not (shape.elements and shape.elements.types)):
        return None
    if not shape.scalar:
        return UNSEARCHED
    if types <= {"S", "SS"}:
        return {"type": "date" if shape.dates else "keyword" if shape.words else "text"}
    if types <= {"N", "NS"}:
        return {"type": "double" if not shape.whole else "long" if shape.long else "keyword"}
    if types <= {"B", "BS"}:
        return {"type": "binary"}
    return {"type": "boolean" if types == {"BOOL"} else "keyword"}


def _example(shape: Shape) -> Any:
    if not shape.types:
        return None
    date = "2024-05-17T12:00:00Z" if shape.times else "2024-05-17"
    text = date if shape.dates else "word" if shape.words else "some words"
    number = 1 if shape.whole else Decimal("1.5")
    examples: dict[str, Any] = {
        "S": text,
        "N": number,
        "B": b"\x00\x01",
        "BOOL": True,
        "SS": {text},
        "NS": {number},
        "BS": {b"\x00\x01"},
        "M": {"member": "word"},
        "L": [],
    }
    return examples[min(shape.types)]


_FORMS: Final[Mapping[str, str]] = {
    "date": "every text was a date",
    "keyword": "no text had a blank in it",
    "text": "texts had blanks in them",
    "long": "every number was whole",
    "double": "some numbers had fractions",
    "binary": "kept, not searched",
    "boolean": "true and false alone",
}


def _explain(shape: Shape, of: int, is_key: bool, mapping: Mapping[str, Any] | None) -> str:
    types = " and ".join(sorted(shape.types)) or "NULL"
    seen = f"{types} in {shape.count:,} of {of:,}"
    if not shape.count:
        return f"{types}, key attribute; no item was seen"
    parts = ["key attribute, " + seen if is_key else seen]
    if mapping is None:
        parts.append("nothing to map it by")
    elif mapping == UNSEARCHED:
        parts.append("kept, not searched")
    elif len(shape.types) > 1:
        parts.append("of several types")
    elif shape.types <= {"S", "SS"} or mapping["type"] not in ("keyword", "object"):
        form = _FORMS.get(mapping["type"], "") if shape.types != {"L"} else ""
        parts += [form] if form and not (is_key and mapping["type"] == "keyword") else []
    elif shape.types <= {"N", "NS"}:
        parts.append("numbers beyond 64 bits")
    return "; ".join(parts)
