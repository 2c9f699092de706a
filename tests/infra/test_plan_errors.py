"""A table or a secret that is not in the account is named by the plan."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.account import (
    Stack,
    build_archive,
    connect,
    start_account,
    write_provider,
    write_variables,
)
from tests.infra.terraform import Terraform, copy_module, missing
from tests.services.engines import refuse

pytestmark = pytest.mark.infra


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    reason = missing(os.environ)
    if reason:
        refuse(reason, os.environ)
    with start_account(tmp_path_factory.mktemp("account")) as service:
        yield service.url


def test_the_plan_names_a_table_that_is_not_there(account: str, tmp_path: Path) -> None:
    output = fail_to_plan(account, tmp_path)
    assert "reading Dynamodb Table (products): couldn't find resource" in output


def test_the_plan_names_a_secret_that_is_not_there(account: str, tmp_path: Path) -> None:
    output = fail_to_plan(account, tmp_path, secret="no-such-secret")
    assert "reading Secrets Manager Secret (no-such-secret): couldn't find resource" in output


@pytest.fixture
def tables(account: str) -> Iterator[None]:
    """What the example of several tables names."""
    dynamodb = connect(account, "dynamodb")
    names = ("products", "reviews", "prod-single-table")
    for name in names:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
    yield
    for name in names:
        dynamodb.delete_table(TableName=name)


@pytest.mark.usefixtures("tables")
def test_the_example_of_several_tables_is_planned_where_they_are(
    account: str, tmp_path: Path
) -> None:
    code, output = plan_several(account, tmp_path)
    assert code == 0, output
    assert " to add, 0 to change, 0 to destroy." in output


def fail_to_plan(url: str, directory: Path, **more: object) -> str:
    """What the plan says that must fail: none of its tables is in this account."""
    code, output = plan_several(url, directory, **more)
    assert code == 1
    return output


def plan_several(url: str, directory: Path, **more: object) -> tuple[int, str]:
    """The other example's plan."""
    root = Terraform(copy_module(directory), os.environ).at("examples/several-tables")
    write_provider(root.directory, url)
    topic = "arn:aws:sns:us-east-1:123456789012:people"
    write_variables(
        root.directory, Stack(root, url), build_archive(directory), topic_arn=topic, **more
    )
    root.init()
    return root.try_run("plan", "-input=false")
