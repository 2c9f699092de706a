"""`sluice check` on real tables and clusters finds what they refuse, and leaves nothing there."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from console import cli
from console.check.engine import PREFIX, try_index
from console.check.engine import Engine as Judge
from console.errors import InterruptedByUserError
from tests.services.engines import Engine
from tests.unit.test_init import POSTS
from tests.workers import CREDENTIALS, REGION
from worker.cluster import Cluster, connect
from worker.schema import ensure_index
from worker.tables import Table
from worker.wire import from_wire

pytestmark = pytest.mark.services

REAL = pytest.mark.parametrize("search_engine", ["elasticsearch-8"], indirect=True, scope="session")
EMBEDDED = pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session")

MODULE = """
from typing import Any
from pydantic import BaseModel
from worker.tables import Table

class Post(BaseModel):
    id: str
    title: str
    deep: bool = False

def document(post: Post) -> dict[str, Any] | None:
    if post.title == "secret":
        return None
    nest: Any = {{}}
    for _ in range(60 if post.deep else 1):
        nest = {{"in": nest}}
    return {{"title": post.title, "nest": nest, **(post.model_extra or {{}})}}

posts = Table(
    "{name}", model=Post, document=document, version={version}, mappings={{"views": {mapping}}}
)
"""


@pytest.fixture
def cluster(search_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("SLUICE_ELASTICSEARCH_URL", search_engine.url)
    connection = connect(search_engine.url, timeout_s=30)
    yield connection
    left = connection.request("GET", f"/{PREFIX}*")
    connection.close()
    assert left.body == {}, "an index was left behind"


@pytest.fixture
def aws(dynamodb: Engine, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a tables module, and answers its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, mapping: str = '{"type": "long"}', version: int = 1) -> str:
        module = f"tables_{name.replace('-', '_')}"
        text = MODULE.format(name=name, mapping=mapping, version=version)
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return module

    return write


def create(aws: Any, name: str, *, stream: bool = True) -> None:
    more = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
    aws.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        **(more if stream else {}),
    )


def check(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> dict[str, Any]:
    """Run the command with --json; what it says of its one table."""
    capsys.readouterr()
    ended = cli.main(["check", *arguments, "--json"])
    said = capsys.readouterr()
    assert (ended, said.err) == (code, ""), (said.out, said.err)
    (table,) = json.loads(said.out)["tables"]
    answer: dict[str, Any] = table
    return answer


@REAL
def test_what_a_cluster_or_a_model_would_refuse_is_found_in_a_sample_of_the_table(
    cluster: Cluster,
    aws: Any,
    fresh_name: str,
    module: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    create(aws, fresh_name, stream=False)
    good = {"title": {"S": "x"}, "views": {"N": "1"}}
    odd: dict[str, Any] = {
        "conflict": {"title": {"S": "x"}, "views": {"S": "many"}},
        "invalid": {"views": {"N": "1"}},
        "deep": {"title": {"S": "x"}, "deep": {"BOOL": True}},
        "hidden": {"title": {"S": "secret"}},
        "metadata": {"title": {"S": "x"}, "_id": {"S": "x"}},
    }
    for name, item in {**{f"g{n}": good for n in range(5)}, **odd}.items():
        aws.put_item(TableName=fresh_name, Item={"id": {"S": name}, **item})

    told = check(capsys, module(fresh_name), "--items", "100", code=1)
    reasons = {json.loads(group["key"])["id"]["S"]: group for group in told["refusals"]}
    assert set(reasons) == {"conflict", "invalid", "deep", "metadata"}
    assert "views" in reasons["conflict"]["reason"]
    assert reasons["invalid"]["error"] == "ValidationError"
    assert "title: Field required" in reasons["invalid"]["reason"]
    assert "depth" in reasons["deep"]["reason"]
    assert told["items"] | {"source": ""} == {
        "source": "",
        "tried": 10,
        "indexed": 5,
        "refused": 4,
        "hidden": 1,
        "repeated": 0,
        "ids_hashed": 0,
    }
    assert told["engine"] == "cluster"
    assert told["messages"]["changes"] == 10
    assert [one["what"] for one in told["findings"] if one["level"] == "wrong"] == [
        f"the stream of {fresh_name} is off"
    ]


@REAL
def test_a_declaration_that_the_cluster_refuses_or_that_is_not_the_index_is_found(
    cluster: Cluster,
    fresh_name: str,
    module: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = check(capsys, module(fresh_name, '{"type": "nonsense"}'), "--offline", code=1)
    assert "nonsense" in told["declaration_refused"]

    ensure_index(cluster, Table(fresh_name, mappings={"views": {"type": "long"}}))
    assert check(capsys, module(fresh_name), "--offline", code=0)["findings"] == []
    other = '{"type": "keyword"}'
    told = check(capsys, module(fresh_name, other), "--offline", code=1)
    assert "views" in told["findings"][0]["what"]
    told = check(capsys, module(fresh_name, other, 2), "--offline", code=1)
    assert "declares 2 alone" in told["findings"][0]["what"]


@EMBEDDED
def test_a_table_that_is_not_there_and_a_key_that_is_not_its_own_are_found(
    cluster: Cluster,
    aws: Any,
    fresh_name: str,
    module: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = module(fresh_name)
    told = check(capsys, name, code=1)
    assert told["findings"][0]["what"] == f"there is no table {fresh_name} in {REGION}"
    assert cli.main(["check", name, "--items", "5"]) == 2
    assert "there is none" in capsys.readouterr().err
    create(aws, fresh_name)
    assert check(capsys, name, "--key", "id", code=0)["table_unchecked"] is None
    assert cli.main(["check", name, "--key", "other"]) == 2
    assert f"the key of {fresh_name} is id" in capsys.readouterr().err


@EMBEDDED
def test_a_handler_that_has_more_time_than_a_task_is_found(
    cluster: Cluster,
    fresh_name: str,
    tmp_path: Path,
    module: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = module(fresh_name)
    slow = f'slow = Table("{fresh_name}", handlers=[Handler("ALL", print, time_limit_s=100)])\n'
    imported = "from worker.tables import Handler, Table\n"
    (tmp_path / f"{name}.py").write_text(imported + slow)
    told = check(capsys, name, "--offline", code=1)
    assert "may take 303 s" in told["findings"][0]["what"]
    monkeypatch.setenv("SLUICE_TASK_LIMIT_S", "1000")
    assert check(capsys, name, "--offline", code=0)["fine"]


@EMBEDDED
def test_an_interrupted_check_leaves_no_index(cluster: Cluster, fresh_name: str) -> None:
    from console.check.trial import try_items

    stop = threading.Event()
    stop.set()
    table = Table(fresh_name)
    trial = try_items(table, [{"id": {"S": "a"}}], ["id"])
    with pytest.raises(InterruptedByUserError):
        try_index(Judge(cluster, "it", embedded=True), table, trial.writes, stop)


@EMBEDDED
def test_what_only_the_embedded_engine_takes_is_refused_all_the_same(
    cluster: Cluster,
    fresh_name: str,
    module: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A keyword longer than Elasticsearch's longest term."""
    file = tmp_path / "items.json"
    file.write_text(json.dumps([{"id": "1", "title": "a", "views": "x" * 40_000}]))
    name = module(fresh_name, '{"type": "keyword"}')
    call = (name, "--file", str(file), "--key", "id", "--offline", "--embedded")
    told = check(capsys, *call, code=1)
    assert (told["engine"], told["items"]["indexed"]) == ("embedded", 0)
    assert told["refusals"][0]["key"] == '{"id":{"S":"1"}}'


@REAL
def test_a_project_begun_from_a_table_is_taken_as_it_is_by_a_cluster(
    cluster: Cluster,
    aws: Any,
    fresh_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create(aws, fresh_name)
    for item in POSTS:
        aws.put_item(TableName=fresh_name, Item=from_wire(item))
    folder = tmp_path / "project"
    module = f"begun_{fresh_name.replace('-', '_')}"
    call = ["init", fresh_name, "--directory", str(folder), "--module", module]
    assert cli.main(call) == 0, capsys.readouterr().err
    assert "update-table" not in (folder / "README.md").read_text()
    monkeypatch.syspath_prepend(str(folder))
    told = check(capsys, module, "--items", "100", code=0)
    assert (told["items"]["tried"], told["items"]["indexed"]) == (30, 30)
    assert told["undeclared_fields"] == {}
