"""The tables module of a starting project, and its test, as text. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from console.init.guess import Field, Model
from console.init.names import variable_name

WIDTH: Final = 88
"""Of a line, as formatters have it by default."""

INDENT: Final = "    "


def write_module(table: str, models: Sequence[Model], items: int) -> str:
    """The module that declares a table."""
    text = "\n\n\n".join(_write_model(table, model, items) for model in models)
    body = f"{text}\n\n\n{_write_table(table, models[-1])}\n"
    head = (
        f'"""The table {table}, as it is searched. Begun by `sluice init`; yours from here on."""\n'
    )
    return f"{head}\n{_write_imports(body)}\n\n\n{body}"


def write_test(table: str, module: str, model: Model, key: Sequence[str]) -> str:
    """Its test. No value in it is the table's: all are made up, of the types that were seen."""
    variable = variable_name(table)
    item = {field.attribute: field.example for field in model.fields}
    least = {f.attribute: f.example for f in model.fields if f.required}
    names = sorted(field.document for field in model.fields)
    tests = [
        _DOCUMENT.format(variable=variable, names=_write_block(names, 1)),
        _LEAST.format(variable=variable),
        _KEPT.format(variable=variable),
        _REMOVED.format(variable=variable),
    ]
    wrong = next((f for f in model.fields if f.strict and f.attribute not in key), None)
    if wrong is not None:
        tests.append(_WRONG.format(variable=variable, attribute=write_value(wrong.attribute)))
    keys = write_value(key[0]) if len(key) == 1 else f"({', '.join(map(write_value, key))})"
    values = [f"ITEM[{write_value(name)}]" for name in key]
    body = (
        f"KEY = {keys}\n"
        f"PLACE = {values[0] if len(values) == 1 else '(' + ', '.join(values) + ')'}\n"
    )
    constants = (
        f"ITEM: dict[str, Any] = {_write_block(item, 0)}\n"
        f"LEAST: dict[str, Any] = {_write_block(least, 0)}\n"
    )
    decimal = "from decimal import Decimal\n" if "Decimal(" in constants else ""
    return (
        f'"""What becomes of the items of {table}, in memory, in milliseconds."""\n\n'
        f"{decimal}from typing import Any\n\n"
        f"from kit.pipeline import Pipelines\n\nfrom {module} import {variable}\n\n"
        f"# Made up, of the types that were seen: write down items that matter to you.\n"
        f"{constants}{body}\n\n" + "\n\n".join(tests)
    )


def write_value(value: Any) -> str:
    """A Python value as source, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(_write_entries(value)) + "}"
    if isinstance(value, set | list):
        first, last = "{}" if isinstance(value, set) else "[]"
        return first + ", ".join(map(write_value, value)) + last
    if isinstance(value, bytes):
        return 'b"' + "".join(f"\\x{byte:02x}" for byte in value) + '"'
    if isinstance(value, Decimal):
        return f'Decimal("{value}")'
    return _write_text(value) if isinstance(value, str) else repr(value)


def _write_text(text: str) -> str:
    """In double quotes, unless others spare escapes: as formatters have it."""
    written = json.dumps(text, ensure_ascii=False)
    if '"' in text and "'" not in text:
        return "'" + written[1:-1].replace('\\"', '"') + "'"
    return written


def _write_entries(value: Mapping[str, Any]) -> Iterator[str]:
    return (f"{write_value(name)}: {write_value(member)}" for name, member in value.items())


def _write_block(value: Any, depth: int) -> str:
    """A value as source, a mapping or a list of several lines: an entry a line."""
    if not value or not isinstance(value, Mapping | list):
        return write_value(value)
    inner = INDENT * (depth + 1)
    if isinstance(value, list):
        lines = [_write_block(one, depth + 1) for one in value]
    else:
        lines = [f"{write_value(n)}: {_write_block(v, depth + 1)}" for n, v in value.items()]
    first, last = "[]" if isinstance(value, list) else "{}"
    return first + "\n" + "".join(f"{inner}{line},\n" for line in lines) + INDENT * depth + last


def _write_imports(body: str) -> str:
    lines = []
    if "Decimal" in body:
        lines.append("from decimal import Decimal")
    if "Any" in body:
        lines.append("from typing import Any")
    fields = ", Field" if " Field(" in body else ""
    third = [f"from pydantic import BaseModel{fields}", "from worker.tables import Table"]
    return "\n".join([*lines, *([""] if lines else []), *third])


def count_items(number: int) -> str:
    """A number of items, in words that fit one."""
    return f"{number:,} item{'' if number == 1 else 's'}"


def _write_model(table: str, model: Model, items: int) -> str:
    if model.top:
        source = f"guessed from {count_items(items)}" if items else "of which only the key is known"
        says = f"An item of {table}, {source}. Attributes that are not declared are kept."
    else:
        says = "A map in an item."
    lines = [f"class {model.name}(BaseModel):", f'{INDENT}"""{says}"""', ""]
    for field in model.fields:
        lines += _write_field(field)
    return "\n".join(lines)


def _write_field(field: Field) -> Iterator[str]:
    arguments = []
    if not field.required:
        arguments.append("default=None")
    if field.document != field.attribute:
        arguments.append(f"validation_alias={write_value(field.attribute)}")
        arguments.append(f"serialization_alias={write_value(field.document)}")
    elif field.name != field.attribute:
        arguments.append(f"alias={write_value(field.attribute)}")
    yield f"{INDENT}# {field.why}"
    start = f"{INDENT}{field.name}: {field.annotation}"
    if not arguments:
        yield start
    elif arguments == ["default=None"]:
        yield f"{start} = None"
    else:
        line = f"{start} = Field({', '.join(arguments)})"
        if len(line) <= WIDTH:
            yield line
        else:
            yield f"{start} = Field("
            yield from (f"{INDENT * 2}{argument}," for argument in arguments)
            yield f"{INDENT})"


def _write_table(table: str, model: Model) -> str:
    lines = [f"{variable_name(table)} = Table(", f"{INDENT}{write_value(table)},"]
    alias = choose_alias(table)
    if alias is not None:
        lines.append(f"{INDENT}alias={write_value(alias)},")
    lines.append(f"{INDENT}model={model.name},")
    mapped = [field for field in model.fields if field.mapping]
    if mapped:
        lines += [f"{INDENT}mappings={{", f'{INDENT * 2}"properties": {{']
        for field in mapped:
            lines.append(f"{INDENT * 3}# {field.why}")
            lines.append(f"{INDENT * 3}{write_value(field.document)}: {_write_mapping(field)},")
        lines += [f"{INDENT * 2}}},", f"{INDENT}}},"]
    return "\n".join([*lines, ")"])


def _write_mapping(field: Field) -> str:
    assert field.mapping is not None  # noqa: S101 - for the type checker
    if "properties" in field.mapping:
        return _write_block(field.mapping, 3)
    line = write_value(field.mapping)
    room = WIDTH - len(INDENT) * 3 - len(write_value(field.document)) - len(": ,")
    return line if len(line) <= room else _write_block(field.mapping, 3)


def choose_alias(table: str) -> str | None:
    """An alias, where the table's name in lower case is none (Create index API)."""
    name = table.lower()
    if name[0] not in "-_." and len(name) <= 200:
        return None
    return name.strip("-_.")[:200] or "items"


_DOCUMENT: Final = """\
def test_an_item_becomes_a_document(sluice_pipeline: Pipelines) -> None:
    pipeline = sluice_pipeline({variable}, key=KEY)
    pipeline.put(ITEM)
    document = pipeline.document(PLACE)
    assert document is not None
    assert sorted(document) == {names}
"""

_LEAST: Final = """\
def test_an_item_of_what_is_required_alone_is_indexed(
    sluice_pipeline: Pipelines,
) -> None:
    pipeline = sluice_pipeline({variable}, key=KEY)
    pipeline.put(LEAST)
    assert pipeline.document(PLACE) is not None
"""

_KEPT: Final = """\
def test_an_attribute_that_nobody_declared_is_kept(sluice_pipeline: Pipelines) -> None:
    pipeline = sluice_pipeline({variable}, key=KEY)
    pipeline.put({{**ITEM, "undeclared attribute": "kept"}})
    document = pipeline.document(PLACE)
    assert document is not None
    assert document["undeclared attribute"] == "kept"
"""

_REMOVED: Final = """\
def test_a_deleted_item_is_no_longer_found(sluice_pipeline: Pipelines) -> None:
    pipeline = sluice_pipeline({variable}, key=KEY)
    pipeline.put(ITEM)
    assert pipeline.document(PLACE) is not None
    pipeline.delete(PLACE)
    assert pipeline.document(PLACE) is None
"""

_WRONG: Final = """\
def test_a_value_of_a_wrong_type_is_refused_by_name(sluice_pipeline: Pipelines) -> None:
    pipeline = sluice_pipeline({variable}, key=KEY)
    pipeline.put({{**ITEM, {attribute}: {{"no such": "thing"}}}})
    (letter,) = pipeline.dead_letters()
    assert letter.error == "ValidationError"
    assert {attribute} in letter.reason
"""
