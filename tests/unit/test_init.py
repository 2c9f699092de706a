"""`sluice init` writes a project that passes its own tests, whatever the table holds."""

import importlib.metadata
import json
import keyword
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from console import cli
from console.init.command import Sample, make_files
from console.init.files import write_readme
from console.init.guess import guess_models
from console.init.names import document_name, field_name, module_name
from console.init.shape import survey
from producer.contract import Item

POSTS: list[Item] = [
    {
        "id": {"S": f"p{n}"},
        "title": {"S": "Some words"},
        "status": {"S": "draft"},
        "created": {"S": "2024-05-17T12:00:00Z"},
        "day": {"S": "2024-05-17"},
        "views": {"N": str(n)},
        "price": {"N": "1.5"},
        "tags": {"SS": ["a", "b"]},
        "marks": {"NS": ["1", "2.5"]},
        "blobs": {"BS": ["AAEC"]},
        "open": {"BOOL": True},
        "gone": {"NULL": True},
        "author": {"M": {"name": {"S": "ann b"}, "class": {"N": "1"}}},
        "blocks": {"L": [{"M": {"type": {"S": "x"}, "n": {"N": "1"}}}]},
        "words": {"L": [{"S": "a"}, {"NULL": True}]},
        "grid": {"L": [{"L": [{"N": "1"}]}]},
        "empty": {"L": []},
        "bare": {"M": {}},
        "huge": {"N": "12345678901234567890123"},
        **({"rare": {"S": "now and then"}} if n % 3 == 0 else {}),
    }
    for n in range(30)
]
ODD: list[Item] = [
    {
        "pk": {"B": "AAEC"},
        "sk": {"N": "7"},
        "order-date": {"S": "x"},
        "order_date": {"S": "y"},
        "class": {"S": "x"},
        "set": {"SS": ["a"]},
        "copy": {"S": "x"},
        "model_dump": {"S": "x"},
        "2nd": {"S": "x"},
        "_id": {"S": "x"},
        "_sluice": {"S": "x"},
        "a.b": {"S": "x"},
        "..": {"S": "x"},
        'qu"ote\n': {"S": "x"},
        "Äpfel": {"N": "1"},
        "Decimal": {"N": "1.5"},
        "mixed": {"S": "x"},
        "wild": {"M": {"a": {"S": "x"}}},
        "a very long name of an attribute, as nobody should give one, but some do": {"S": "x"},
    },
    {"pk": {"B": "AAED"}, "sk": {"N": "8"}, "mixed": {"N": "1"}, "wild": {"S": "x"}},
]
CASES: dict[str, tuple[str, dict[str, str], list[Item]]] = {
    "posts": ("posts", {"id": "S"}, POSTS),
    "odd": ("prod.Odd-Table", {"pk": "B", "sk": "N"}, ODD),
    "empty": ("_empty.2024", {"author": "S", "at": "N"}, []),
    "empty-binary": ("list", {"id": "B"}, []),
}


def write(folder: Path, case: str) -> tuple[Path, str]:
    """The project of a case, and its module."""
    table, key, items = CASES[case]
    module = module_name(table)
    files = make_files(table, module, Sample(key, items, stream_on=False), "../../infra", "")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder, module


def run(folder: Path, *arguments: str) -> None:
    """Run a tool of Python in the project, as its owner would: Sluice is installed, no more."""
    code, said = ask(folder, "-m", *arguments)
    assert code == 0, said


def ask(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of a run of Python in the project, and what it says."""
    paths = ("PYTHONPATH", "MYPYPATH")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in paths},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def load_plugin() -> list[str]:
    """The kit's fixture, where this checkout is not installed with its entry point."""
    points = importlib.metadata.entry_points(group="pytest11")
    return [] if any(one.value == "kit.plugin" for one in points) else ["-p", "kit.plugin"]


def test_what_it_writes_passes_its_own_tests_and_the_linters(tmp_path: Path) -> None:
    for case in CASES:
        write(tmp_path, case)
    run(tmp_path, "pytest", "-q", "-W", "error", *load_plugin())
    run(tmp_path, "ruff", "check", "--isolated", ".")
    run(tmp_path, "ruff", "format", "--isolated", "--check", ".")


def test_what_it_writes_is_typed(tmp_path: Path) -> None:
    for case in CASES:
        write(tmp_path, case)
    run(tmp_path, "mypy", "--strict", ".")


def test_a_handler_that_does_not_fit_its_events_is_a_type_error_there(tmp_path: Path) -> None:
    _, module = write(tmp_path, "posts")
    wrong = f"""
        from collections.abc import Sequence
        from worker.tables import Handler, Insert
        from {module} import Post
        def welcome(changes: Sequence[Insert[Post]]) -> None: ...
        Handler("INSERT", welcome)
        Handler("REMOVE", welcome)
    """
    (tmp_path / "wrong.py").write_text(textwrap.dedent(wrong))
    code, said = ask(tmp_path, "-m", "mypy", "--strict", "wrong.py")
    assert code == 1, said
    found = {line.split(":")[1] for line in said.splitlines() if line.startswith("wrong.py:")}
    assert found == {"7"}, said


STUBS = {
    "terraform": """
        [ "$1" = -chdir=infra ] && [ -d infra ] || exit 1
        [ "$4" != sluice_env ] || echo 'export SLUICE_TABLES=posts_table'
    """,
    "sluice": """exec "$PYTHON" -c '
import os, sys
sys.path.append("")  # as the console script does
from worker.tables import load_tables
if sys.argv[1] in ("check", "backfill"):
    print(sys.argv[1], *load_tables(os.environ["SLUICE_TABLES"]))' "$@"
    """,
    **dict.fromkeys(("aws", "docker", "make", "pytest"), "exit 0"),
}
"""What the README calls, and no test can have: an account, an image, a table."""


def test_the_commands_of_its_readme_end_where_its_tables_are_found(tmp_path: Path) -> None:
    project, tools = tmp_path / "project", tmp_path / "tools"
    project.mkdir()
    tools.mkdir()
    write(project, "posts")
    for name, body in STUBS.items():
        (tools / name).write_text(f"#!/bin/sh\n{textwrap.dedent(body)}\n")
        (tools / name).chmod(0o755)
    lines = (project / "README.md").read_text().splitlines()
    commands = "\n".join(line.strip() for line in lines if line.startswith("      "))
    done = subprocess.run(
        ["sh", "-euc", commands],
        cwd=project,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["check posts", "backfill posts"]


def test_the_image_holds_the_module_where_terraform_says(tmp_path: Path) -> None:
    folder, module = write(tmp_path, "posts")
    image = tmp_path / "image"
    image.mkdir()
    copied = re.findall(
        r"^COPY --chown=0:0 (\S+) /app/$", (folder / "Dockerfile").read_text(), re.MULTILINE
    )
    for name in copied:
        shutil.copy(folder / name, image)
    assert f'tables_modules = "{module}"' in (folder / "infra" / "main.tf").read_text()
    said = ask(image, "-c", f"from worker.tables import load_tables; load_tables({module!r})")
    assert said == (0, "")


def test_its_readme_names_the_zip_as_terraform_will_look_for_it() -> None:
    readme = write_readme("posts", "posts_table", {"id": "S"}, "../../../infra", stream_on=True)
    assert '"../../../dist/producer.zip"' in readme
    assert "make -C ../.. setup package" in readme


def fields(case: str) -> dict[str, Any]:
    """The fields guessed for the items of a case, by attribute."""
    table, key, items = CASES[case]
    model = guess_models(table, survey(items, key), key)[-1]
    return {field.attribute: field for field in model.fields}


@pytest.mark.parametrize(
    ("attribute", "annotation", "mapping"),
    [
        ("id", "str", {"type": "keyword"}),
        ("title", "str", {"type": "text"}),
        ("status", "str", {"type": "keyword"}),
        ("created", "str", {"type": "date"}),
        ("day", "str", {"type": "date"}),
        ("views", "int", {"type": "long"}),
        ("price", "Decimal", {"type": "double"}),
        ("huge", "int", {"type": "keyword"}),
        ("tags", "set[str]", {"type": "keyword"}),
        ("marks", "set[Decimal]", {"type": "double"}),
        ("blobs", "set[bytes]", {"type": "binary"}),
        ("open", "bool", {"type": "boolean"}),
        ("gone", "Any", None),
        ("words", "list[str | None]", {"type": "keyword"}),
        ("grid", "list[list[int]]", {"type": "long"}),
        ("empty", "list[Any]", None),
        ("bare", "dict[str, Any]", {"type": "object", "enabled": False}),
        ("rare", "str | None", {"type": "text"}),
    ],
)
def test_types_are_guessed_from_what_was_seen(
    attribute: str, annotation: str, mapping: dict[str, Any] | None
) -> None:
    field = fields("posts")[attribute]
    assert (field.annotation, field.mapping) == (annotation, mapping)


def test_maps_that_look_like_records_become_models() -> None:
    table, key, items = CASES["posts"]
    models = guess_models(table, survey(items, key), key)
    assert [model.name for model in models] == ["PostAuthor", "PostBlocks", "Post"]
    assert fields("posts")["blocks"].annotation == "list[PostBlocks]"


def test_mixed_types_become_a_union_and_what_cannot_be_searched_is_kept() -> None:
    mixed, wild = fields("odd")["mixed"], fields("odd")["wild"]
    assert (mixed.annotation, mixed.mapping) == ("int | str | None", {"type": "keyword"})
    assert "N and S in 2 of 2" in mixed.why
    assert (wild.annotation, wild.mapping) == (
        "dict[str, Any] | str | None",
        {"type": "object", "enabled": False},
    )


def test_an_attribute_is_required_only_if_enough_items_had_it() -> None:
    table, key, items = CASES["posts"]
    few = guess_models(table, survey(items[:19], key), key)[-1]
    many = guess_models(table, survey(items[:20], key), key)[-1]
    assert [f.attribute for f in few.fields if f.required] == ["id"]
    assert {f.attribute for f in many.fields if not f.required} == {"rare"}


@given(st.lists(st.text(min_size=1, max_size=60), unique=True, max_size=6))
def test_every_attribute_has_a_name_of_its_own_that_python_and_elasticsearch_take(
    attributes: list[str],
) -> None:
    names: set[str] = set()
    documents: set[str] = set()
    for attribute in attributes:
        name = field_name(attribute, names)
        assert name.isidentifier()
        assert name.isascii()
        assert not name.startswith("_")
        assert not keyword.iskeyword(name)
        assert not hasattr(BaseModel, name)
        names.add(name)
        document = document_name(attribute, documents, top=True)
        assert "." not in document
        assert document.strip()
        documents.add(document)
    assert len(names) == len(documents) == len(attributes)


def items_file(folder: Path, items: list[Item]) -> str:
    file = folder / "items.json"
    file.write_text(json.dumps({"Items": items}))
    return str(file)


def test_it_says_what_it_wrote_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "project"
    call = ["init", "posts", "--directory", str(folder), "--key", "id"]
    call += ["--file", items_file(tmp_path, POSTS)]
    assert cli.main(call) == 0
    said = capsys.readouterr().out
    assert "Guessed from 30 items" in said
    written = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    assert len(written) == 6
    assert all(path in said for path in written)
    (folder / "README.md").write_text("mine")
    (folder / "posts_table.py").unlink()
    assert cli.main(call) == 2
    assert "README.md" in capsys.readouterr().err
    assert (folder / "README.md").read_text() == "mine"
    assert not (folder / "posts_table.py").exists()


def test_a_table_that_cannot_be_asked_is_told_with_every_way_on_in_one_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["init", "posts", "--directory", str(tmp_path / "project")]) == 2
    said = capsys.readouterr().err
    assert said.endswith("(set AWS_REGION, or give --file items.json --key NAME:TYPE)\n")


def test_one_item_is_told_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["init", "posts", "--directory", str(tmp_path / "project"), "--key", "id"]
    assert cli.main([*call, "--file", items_file(tmp_path, POSTS[:1])]) == 0
    assert "Guessed from 1 item, and" in capsys.readouterr().out
    assert "guessed from 1 item." in (tmp_path / "project" / "posts_table.py").read_text()


def test_no_value_of_the_table_is_written() -> None:
    secret: Item = {"id": {"S": "secret-7"}, "note": {"S": "secret words"}}
    files = make_files("posts", "posts_table", Sample({"id": "S"}, [secret], True), "../x", "")
    assert not any("secret-7" in text or "secret words" in text for text in files.values())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--key", "id"], "--key is for --file"),
        (["--file", "FILE", "--key", "no"], "no key attribute no"),
        (["--file", "FILE", "--key", "id:N"], "no key attribute id of type N"),
        (["--file", "FILE", "--key", "a,b,c"], "is no key"),
        (["--file", "FILE", "--key", "id", "--module", "a-b"], "no name of a module"),
        (["--file", "FILE"], "give --key"),
    ],
)
def test_a_wrong_call_writes_nothing_and_says_what_to_do(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given_ = [items_file(tmp_path, POSTS) if one == "FILE" else one for one in arguments]
    folder = tmp_path / "project"
    assert cli.main(["init", "posts", "--directory", str(folder), *given_]) == 2
    assert complaint in capsys.readouterr().err
    assert not folder.exists()
