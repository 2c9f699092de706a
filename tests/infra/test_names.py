"""Names cannot drift apart: code, Lambda, ECS, the operator's file, the documentation."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pytest

from console.deadletters.settings import SETTINGS as CONSOLE
from console.session import NEEDED
from producer import metrics as producer_metrics
from producer.metrics import METRICS as PRODUCER_METRICS
from producer.metrics import Metric as ProducerMetric
from producer.settings import SETTINGS as PRODUCER
from worker.metrics import DIMENSION, ERROR_DIMENSION, METRICS, NAMESPACE
from worker.metrics import Metric as WorkerMetric
from worker.settings import SETTINGS as WORKER

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
NOT_OURS = {"AWS_REGION"}
OF_THE_IMAGE = {"ELASTICSEARCH_CA_PEM"}
"""Read by the image's start, not by the worker."""


class Setting(Protocol):
    """What every list of settings says of a variable."""

    @property
    def name(self) -> str: ...

    @property
    def default(self) -> str | None: ...


def names(settings: Iterable[Setting]) -> set[str]:
    return {setting.name for setting in settings}


def read_map(file: str, name: str) -> set[str]:
    """The keys of a map in locals."""
    text = (INFRA / file).read_text()
    pattern = rf"^  {name} = (?:\{{|merge\()\n(.*?)^  [}})]"
    match = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{file} has no {name}"
    return set(re.findall(r"\b([A-Z][A-Z0-9_]{3,})\s*=(?!=)", match[1]))


def test_the_function_is_told_every_setting_of_the_producer_and_no_other() -> None:
    assert read_map("producer.tf", "producer_environment") == names(PRODUCER)


def test_a_task_is_told_every_setting_of_the_worker_and_no_other() -> None:
    plain = read_map("worker.tf", "worker_environment")
    secret = read_map("worker.tf", "worker_secrets")
    assert plain | secret == names(WORKER) | NOT_OURS | OF_THE_IMAGE
    assert not plain & secret


def test_the_purge_is_told_all_that_its_command_needs() -> None:
    # Told what the worker is: infra/tests/module.tftest.hcl compares the two containers.
    secrets = read_map("worker.tf", "worker_secrets")
    assert read_map("worker.tf", "worker_environment") | secrets >= NEEDED


def test_what_is_secret_in_the_code_is_a_secret_of_the_task() -> None:
    marked = {setting.name for setting in WORKER if setting.secret}
    assert marked <= read_map("worker.tf", "worker_secrets")


def test_the_operators_file_knows_no_name_that_the_code_does_not() -> None:
    told = set(re.findall(r"\b(SLUICE_[A-Z_]+)\b", (INFRA / "outputs.tf").read_text()))
    assert told <= names(PRODUCER) | names(WORKER) | names(CONSOLE)
    assert told >= names(CONSOLE)
    assert names(s for s in PRODUCER if s.default is None) <= told
    assert names(s for s in WORKER if s.default is None) <= told


def test_the_operators_file_has_every_setting_that_a_command_reads() -> None:
    told = set(re.findall(r"\b(SLUICE_[A-Z_]+)\b", (INFRA / "outputs.tf").read_text()))
    read = {name for file in find_commands() for name in find_settings(file)}
    assert len(read) >= 10
    assert {"SLUICE_TASK_LIMIT_S", "SLUICE_CHUNK_BYTES"} <= read
    assert read <= told


def find_commands() -> list[Path]:
    """The modules of the `sluice` command that talk to what was deployed."""
    local = [ROOT / "console" / name for name in ("demo", "local")]
    return [
        file
        for file in (ROOT / "console").rglob("*.py")
        if not any(file.is_relative_to(folder) for folder in local)
    ]


def find_settings(file: Path) -> set[str]:
    """The settings that a module names, as text of its own or without the prefix."""
    known = names(PRODUCER) | names(WORKER) | names(CONSOLE)
    texts = {
        node.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return known & (texts | {f"SLUICE_{text}" for text in texts})


def test_the_operators_file_says_what_worker_and_producer_are_told() -> None:
    given = read_pairs("outputs.tf", "plain_environment")
    shared = 0
    for file, name in (
        ("worker.tf", "worker_environment"),
        ("producer.tf", "producer_environment"),
    ):
        for setting, value in read_pairs(file, name).items():
            if setting in given:
                assert given[setting] == value, setting
                shared += 1
    assert shared >= 15


def read_pairs(file: str, name: str) -> dict[str, str]:
    """The lines of a map in locals, each a name and its expression."""
    text = (INFRA / file).read_text()
    match = re.search(rf"^  {name} = \{{\n(.*?)^  \}}", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{file} has no {name}"
    return dict(re.findall(r"^    ([A-Z][A-Z0-9_]+)\s*= (.+?)(?:\s+#.*)?$", match[1], re.MULTILINE))


def test_every_name_in_terraform_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"`(SLUICE_[A-Z_]+)`", page))
    for file in INFRA.rglob("*.tf"):
        for name in re.findall(r"\bSLUICE_[A-Z_]+\b", file.read_text()):
            assert name in documented, f"{file.name}: {name}"


def test_the_image_sets_names_that_the_worker_knows() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"\b(SLUICE_[A-Z_]+)=", text)) <= names(WORKER)
    start = (INFRA / "image" / "start").read_text()
    assert set(re.findall(r"\bSLUICE_[A-Z_]+\b", start)) <= names(WORKER)
    assert all(name in start for name in OF_THE_IMAGE)


def test_defaults_of_the_module_are_those_of_the_code() -> None:
    text = (INFRA / "variables.tf").read_text()
    defaults = dict(re.findall(r"^\s+(\w+)\s*= optional\(number, (\d+)\)", text, re.MULTILINE))
    # A drain in Fargate may take longer than the code's default, which suits any container.
    del defaults["drain_s"]
    told = {s.name: s.default for s in PRODUCER} | {s.name: s.default for s in WORKER}
    shared = [name for name in told if field(name) in defaults]
    assert len(shared) >= 8
    for name in shared:
        assert defaults[field(name)] == told[name], name


def field(name: str) -> str:
    """What the module calls a setting."""
    return name.removeprefix("SLUICE_").removeprefix("VALVE_").lower()


def test_every_alarm_has_its_section_in_the_runbook() -> None:
    alarms = (INFRA / "alarms.tf").read_text()
    anchors = set(re.findall(r"^    ([a-z][a-z0-9-]+) = \{$", alarms, re.MULTILINE))
    anchors |= {"on-failure", "not-polling"}
    page = (ROOT / "docs" / "runbook.md").read_text()
    titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert len(anchors) >= 12
    assert anchors <= set(titles), anchors - set(titles)


@pytest.mark.parametrize(
    ("name", "published"), [("worker_metric", METRICS), ("producer_metric", PRODUCER_METRICS)]
)
def test_the_dashboard_shows_every_metric_that_is_published_and_no_other(
    name: str, published: Iterable[WorkerMetric | ProducerMetric]
) -> None:
    alarms, dashboard = ((INFRA / file).read_text() for file in ("alarms.tf", "dashboard.tf"))
    block = re.search(rf"^  {name} = \{{\n(.*?)^  \}}", alarms, re.MULTILINE | re.DOTALL)
    assert block is not None
    watched = dict(re.findall(r'^\s+(\w+)\s*= "(\w+)"', block[1], re.MULTILINE))
    assert len(watched) >= 5
    assert set(watched.values()) == {metric.name for metric in published}
    shown = set(re.findall(rf"local\.{name}\.(\w+)", dashboard))
    lists = re.findall(rf"for what in \[(.*)\] :\n.*local\.{name}\[what\]", dashboard)
    shown |= {key for keys in lists for key in re.findall(r'"(\w+)"', keys)}
    assert shown == set(watched)
    assert set(re.findall(rf"local\.{name}\.(\w+)", alarms)) <= set(watched)
    # No other way to name a metric of ours: each line of the namespace takes it from the map.
    ours = re.findall(r"^.*worker_namespace, .*$", dashboard, re.MULTILINE)
    assert all(re.search(r"local\.(worker|producer)_metric\b", line) for line in ours)


def test_worker_and_producer_publish_where_the_module_looks() -> None:
    alarms = (INFRA / "alarms.tf").read_text()
    assert f'worker_namespace = "{NAMESPACE}"' in alarms
    assert f"worker_dimension   = {{ {DIMENSION} = " in alarms
    assert (producer_metrics.NAMESPACE, producer_metrics.DIMENSION) == (NAMESPACE, DIMENSION)
    dashboard = (INFRA / "dashboard.tf").read_text()
    assert f"{{${{local.worker_namespace}},{DIMENSION},{ERROR_DIMENSION}}}" in dashboard


def test_no_two_metrics_share_a_name() -> None:
    names = [metric.name for metric in (*METRICS, *PRODUCER_METRICS)]
    assert len(names) == len(set(names))


ROOTS = {
    "one table": INFRA / "examples" / "one-table" / "main.tf",
    "several tables": INFRA / "examples" / "several-tables" / "main.tf",
    "docs/deploy.md": ROOT / "docs" / "deploy.md",
    "sluice init": ROOT / "console" / "init" / "files.py",
}
"""What a user starts from: each calls the module."""

OF_HANDLERS = {"worker_role_arn"}
"""Asked for by a configuration that gives its own handlers rights."""


@pytest.mark.parametrize("root", ROOTS)
def test_what_a_user_starts_from_has_every_output_that_the_pages_ask_for(root: str) -> None:
    text = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    asked = set(re.findall(r"\bterraform output (?:-raw )?(\w+)", text))
    asked |= set(re.findall(r"Terraform's output `(\w+)`", text))
    assert {"sluice_env", "repository_url", "operator_role_arn"} <= asked
    outputs = r'^output "(\w+)" \{.*?\bmodule\.sluice\.(\w+)'
    given = re.findall(outputs, ROOTS[root].read_text(), re.MULTILINE | re.DOTALL)
    assert all(name == value for name, value in given)
    assert {name for name, _ in given} >= asked - OF_HANDLERS
    module = set(re.findall(r'^output "(\w+)"', (INFRA / "outputs.tf").read_text(), re.MULTILINE))
    assert asked <= module


def test_the_cost_of_alarms_counts_each_metric_that_an_alarm_looks_at() -> None:
    alarms, worker = ((INFRA / file).read_text() for file in ("alarms.tf", "worker.tf"))
    simple = len(re.findall(r"^    [a-z][a-z0-9-]+ = \{$", alarms, re.MULTILINE))
    polls = len(re.findall(r"NumberOf\w+Receive\w+", alarms))
    block = re.search(r"^  backlog_metrics = \{\n(.*?)^  \}", worker, re.MULTILINE | re.DOTALL)
    assert block is not None
    # Of the alarms for bursts and idleness, and of the one that target tracking makes to add tasks.
    scaling = 3 * block[1].count("namespace")
    assert worker.count("for_each = local.backlog_metrics") == 3
    told = re.search(r"`(\d+) \+ tables` alarm metrics", (ROOT / "docs" / "cost.md").read_text())
    assert told is not None
    assert int(told[1]) == simple + polls + scaling
