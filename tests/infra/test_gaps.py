"""moto lacks what the shim adds: a release that closes a gap goes red here.

Then take its filler out of tests/infra/shim.py.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from console.local.services import start_moto
from tests.infra.account import connect

pytestmark = pytest.mark.infra

ROLE = {"Version": "2012-10-17", "Statement": []}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """moto as it comes, without the shim."""
    with start_moto(tmp_path_factory.mktemp("moto")) as service:
        yield service.url


def test_a_queue_forgets_who_may_name_it_and_changes_the_text_of_its_redrive(moto: str) -> None:
    sqs = connect(moto, "sqs")
    dead = sqs.create_queue(
        QueueName="gap-dead", Attributes={"RedriveAllowPolicy": '{"redrivePermission":"denyAll"}'}
    )["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert "RedriveAllowPolicy" not in found
    told = f'{{"deadLetterTargetArn":"{found["QueueArn"]}","maxReceiveCount":5}}'
    url = sqs.create_queue(QueueName="gap", Attributes={"RedrivePolicy": told})["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    returned = answer["Attributes"]["RedrivePolicy"]
    assert returned != told
    assert json.loads(returned) == json.loads(told)


def test_a_scaling_target_has_no_tags(moto: str) -> None:
    scaling = connect(moto, "application-autoscaling")
    arn = "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/gap"
    with pytest.raises(ClientError):
        scaling.list_tags_for_resource(ResourceARN=arn)


def test_a_function_forgets_where_it_logs_to(moto: str) -> None:
    role = connect(moto, "iam").create_role(
        RoleName="gap", AssumeRolePolicyDocument=json.dumps(ROLE)
    )["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "")
    functions = connect(moto, "lambda")
    functions.create_function(
        FunctionName="gap",
        Role=role,
        Runtime="python3.13",
        Handler="handler.handler",
        Code={"ZipFile": code.getvalue()},
        LoggingConfig={"LogFormat": "Text", "LogGroup": "/gap"},
    )
    found = functions.get_function_configuration(FunctionName="gap")
    assert found.get("LoggingConfig") is None


def test_a_service_forgets_how_it_is_deployed(moto: str) -> None:
    ecs = connect(moto, "ecs")
    ecs.create_cluster(clusterName="gap")
    container: dict[str, Any] = {"name": "gap", "image": "gap", "memory": 128}
    ecs.register_task_definition(family="gap", containerDefinitions=[container])
    sent = {"maximumPercent": 100, "minimumHealthyPercent": 0}
    made = ecs.create_service(
        cluster="gap",
        serviceName="gap",
        taskDefinition="gap",
        desiredCount=0,
        deploymentConfiguration=sent,
        availabilityZoneRebalancing="DISABLED",
    )["service"]
    assert made.get("deploymentConfiguration") != sent
    assert "availabilityZoneRebalancing" not in made
