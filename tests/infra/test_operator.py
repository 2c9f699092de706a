"""The operator may do what the commands ask of AWS, and nothing that neither they nor people do."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from botocore import xform_name

from tests.infra.account import connect
from tests.infra.terraform import INFRA, ROOT

SERVICES = ("cloudwatch", "dynamodb", "dynamodbstreams", "lambda", "s3", "sqs")
NOWHERE = "http://unused.invalid"
"""Nothing is asked of it."""

LOCAL = ("console/demo/", "console/local/")
"""They talk to services of this machine alone."""

BESIDE = ("producer/sender.py", "worker/overflow.py", "worker/source.py")
"""What the commands use for its calls of AWS."""

ACTIONS = {
    "s3:CopyObject": {"s3:GetObject", "s3:PutObject"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "sqs:ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
    "sqs:DeleteMessageBatch": {"sqs:DeleteMessage"},
    "sqs:SendMessageBatch": {"sqs:SendMessage"},
}
"""Calls whose action has another name (AWS Service Authorization Reference)."""

OF_NO_COMMAND = {
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "secretsmanager:GetSecretValue",
}
"""What no line asks for by name: services use the keys, the operator's file reads the secret."""


def find_actions_of_pages() -> set[str]:
    """The actions of every `aws SERVICE COMMAND` of the runbook."""
    page = (ROOT / "docs" / "runbook.md").read_text()
    actions = set()
    for service, command in re.findall(r"\baws ([a-z0-9-]+) ([a-z0-9-]+)", page):
        operations = connect(NOWHERE, service).meta.service_model.operation_names
        known = {xform_name(name, "-"): name for name in operations}
        actions.add(f"{service}:{known[command]}")
    return actions


def find_called(file: Path) -> Iterator[str]:
    """Names of what the module calls on anything, and of the paginators it asks for."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr
            if node.func.attr in ("get_paginator", "get_waiter"):
                (name,) = node.args
                assert isinstance(name, ast.Constant)
                assert isinstance(name.value, str)
                yield name.value


def find_actions() -> set[str]:
    """The actions of every call of AWS that a command can make."""
    files = [ROOT / name for name in BESIDE]
    files += [
        file
        for file in (ROOT / "console").rglob("*.py")
        if not str(file.relative_to(ROOT)).startswith(LOCAL)
    ]
    called = {name for file in files for name in find_called(file)}
    actions: set[str] = set()
    for service in SERVICES:
        operations = connect(NOWHERE, service).meta.method_to_api_mapping
        prefix = "dynamodb" if service == "dynamodbstreams" else service
        for name in called & set(operations):
            action = f"{prefix}:{operations[name]}"
            actions |= ACTIONS.get(action, {action})
    return actions


def read_allowed() -> set[str]:
    text = (INFRA / "iam.tf").read_text()
    policy = text[text.index('data "aws_iam_policy_document" "operator" {') :]
    return set(re.findall(r'"([a-z0-9]+:[A-Z]\w+)"', policy))


def test_the_operator_may_do_what_every_command_asks_of_aws() -> None:
    actions = find_actions()
    assert {"cloudwatch:GetMetricData", "lambda:ListEventSourceMappings"} <= actions
    assert len(actions) >= 14
    assert actions <= read_allowed()


def test_the_operator_may_run_every_aws_command_of_the_runbook() -> None:
    actions = find_actions_of_pages()
    assert {"ecs:DescribeServices", "lambda:GetAccountSettings"} <= actions
    assert len(actions) >= 5
    assert actions <= read_allowed()


def test_the_operator_may_do_nothing_that_no_command_and_no_page_of_the_runbook_does() -> None:
    assert read_allowed() == find_actions() | find_actions_of_pages() | OF_NO_COMMAND


def test_the_documentation_names_each_action_that_is_allowed_on_everything() -> None:
    policies = (INFRA / "iam.tf").read_text()
    wide = [
        action
        for actions in re.findall(r'actions\s+= \[([^\]]*)\]\n\s+resources = \["\*"\]', policies)
        for action in re.findall(r'"([^"]+)"', actions)
    ]
    page = (ROOT / "docs" / "deploy.md").read_text()
    told = page[page.index("are allowed on `*`") :].split("\n\n")[0]
    assert set(re.findall(r"`(\w+:\w+)`", told)) == set(wide)
    assert len(wide) == 4
