"""The whole stack against moto and the shim: applied, planned empty, read back, destroyed."""

import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.session import NEEDED
from console.settings import read_part
from producer.settings import Settings as ProducerSettings
from tests.infra.account import (
    CLUSTER,
    KEYS,
    REGION,
    Stack,
    build_archive,
    create_key,
    encrypt_table,
    name_authority,
    provide_aws,
    read_secret,
    start_account,
    write_provider,
    write_variables,
)
from tests.infra.terraform import ROOT, Terraform, copy_module, missing
from tests.services.engines import refuse
from worker.settings import read_settings

pytestmark = pytest.mark.infra

APPLY_S = 480.0
DESTROY_S = 300.0
UNASKED = ("-auto-approve", "-input=false", "-parallelism=30")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The example of one table, applied; destroyed at the end, which is part of what is shown."""
    reason = missing(os.environ)
    if reason:
        refuse(reason, os.environ)
    directory = tmp_path_factory.mktemp("stack")
    with start_account(directory) as service:
        terraform = Terraform(copy_module(directory), os.environ).at("examples/one-table")
        stack = Stack(terraform, service.url)
        write_provider(terraform.directory, service.url)
        write_variables(terraform.directory, stack, build_archive(directory))
        encrypt_table(terraform.directory, create_key(service.url))
        name_authority(terraform.directory)
        terraform.init()
        terraform.run("apply", *UNASKED, timeout_s=APPLY_S)
        yield stack
        # The plan before has just seen that the state is what is there.
        output = terraform.run("destroy", *UNASKED, "-refresh=false", timeout_s=DESTROY_S)
        assert "Destroy complete!" in output
        assert stack.client("sqs").list_queues().get("QueueUrls", []) == []
        assert stack.client("iam").list_roles()["Roles"] == []


def test_a_second_plan_is_empty(stack: Stack) -> None:
    code, output = stack.terraform.try_run("plan", "-detailed-exitcode", "-input=false")
    assert code == 0, output


def test_the_function_can_read_its_settings_and_runs_the_handler(stack: Stack) -> None:
    found = stack.client("lambda").get_function_configuration(FunctionName="sluice-producer")
    settings = ProducerSettings.read(found["Environment"]["Variables"])
    assert settings.queue == "sluice-changes"
    assert settings.dead_letter_url.endswith("/sluice-dead")
    assert settings.overflow_bucket.startswith("sluice-overflow-")
    assert found["Architectures"] == ["arm64"]
    assert found["Timeout"] >= 30
    module, _, function = found["Handler"].rpartition(".")
    with zipfile.ZipFile(stack.terraform.directory.parents[2] / "producer.zip") as archive:
        source = archive.read(module.replace(".", "/") + ".py").decode()
    assert f"def {function}(" in source


def test_the_mapping_gives_up_in_time_and_keeps_what_failed(stack: Stack) -> None:
    (found,) = stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert found["BisectBatchOnFunctionError"] is True
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 0 < found["MaximumRecordAgeInSeconds"] < 86_400
    assert found["MaximumRetryAttempts"] > 0
    assert found["StartingPosition"] == "TRIM_HORIZON"
    bucket = stack.environment()["SLUICE_ON_FAILURE_BUCKET"]
    assert found["DestinationConfig"]["OnFailure"]["Destination"] == f"arn:aws:s3:::{bucket}"


def test_a_task_can_read_its_settings(stack: Stack) -> None:
    task = stack.task()
    environment = {entry["name"]: entry["value"] for entry in task["environment"]}
    secret = json.loads(
        stack.client("secretsmanager").get_secret_value(SecretId="search")["SecretString"]
    )
    for entry in task["secrets"]:
        environment[entry["name"]] = secret[entry["valueFrom"].split(":")[7]]
    settings = read_settings(environment)
    assert environment["AWS_REGION"] == REGION
    assert settings.elasticsearch_url == CLUSTER
    assert settings.drain_s + 10 < task["stopTimeout"] <= 120
    assert task["readonlyRootFilesystem"] is True
    (mount,) = task["mountPoints"]
    assert settings.health_file.startswith(mount["containerPath"] + "/")
    assert task["healthCheck"]["command"][1:] == ["python", "-m", "worker", "health"]


def test_the_schedule_runs_a_purge_that_can_read_its_settings(stack: Stack) -> None:
    (found,) = stack.client("scheduler").list_schedules()["Schedules"]
    schedule = stack.client("scheduler").get_schedule(Name=found["Name"])
    assert schedule["State"] == "ENABLED"
    target = schedule["Target"]
    assert target["RoleArn"].endswith(":role/sluice-scheduler")
    arn = target["EcsParameters"]["TaskDefinitionArn"]
    task = stack.client("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
    assert task["executionRoleArn"].endswith(":role/sluice-execution")
    assert not task.get("taskRoleArn")
    pairs = set(read_policy(stack.client("iam"), "scheduler"))
    assert pairs == {("ecs:RunTask", arn), ("iam:PassRole", task["executionRoleArn"])}
    (purge,), worker = task["containerDefinitions"], stack.task()
    assert purge["command"] == ["sluice", "tombstones", "purge", "posts"]
    assert purge["secrets"] == worker["secrets"]
    environment = {entry["name"]: entry["value"] for entry in purge["environment"]}
    environment |= {entry["name"]: CLUSTER for entry in purge["secrets"]}
    horizon = read_part(environment, NEEDED).horizon_days
    assert str(horizon) == stack.environment()["SLUICE_HORIZON_DAYS"]


def test_the_queues_agree_with_what_the_code_is_told(stack: Stack) -> None:
    environment = {e["name"]: e["value"] for e in stack.task()["environment"]}
    sqs = stack.client("sqs")

    def attributes(name: str) -> Any:
        return sqs.get_queue_attributes(QueueUrl=environment[name], AttributeNames=["All"])[
            "Attributes"
        ]

    queue, dead = attributes("SLUICE_QUEUE_URL"), attributes("SLUICE_DEAD_LETTER_URL")
    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]
    assert redrive["maxReceiveCount"] >= 3
    assert json.loads(dead["RedriveAllowPolicy"])["sourceQueueArns"] == [queue["QueueArn"]]
    assert int(queue["VisibilityTimeout"]) > int(environment["SLUICE_TASK_LIMIT_S"])
    assert int(dead["MessageRetentionPeriod"]) > int(queue["MessageRetentionPeriod"])
    function = stack.client("lambda").get_function_configuration(FunctionName="sluice-producer")
    told = ProducerSettings.read(function["Environment"]["Variables"])
    assert int(queue["MaximumMessageSize"]) >= told.message_bytes
    assert int(dead["MaximumMessageSize"]) >= told.message_bytes
    assert queue["KmsMasterKeyId"] == dead["KmsMasterKeyId"] != ""


def test_images_outlive_the_messages_that_name_them(stack: Stack) -> None:
    environment = stack.environment()
    s3, sqs = stack.client("s3"), stack.client("sqs")
    bucket = environment["SLUICE_OVERFLOW_BUCKET"]
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    kept = sum(
        int(
            sqs.get_queue_attributes(
                QueueUrl=environment[name], AttributeNames=["MessageRetentionPeriod"]
            )["Attributes"]["MessageRetentionPeriod"]
        )
        for name in ("SLUICE_QUEUE_URL", "SLUICE_DEAD_LETTER_URL")
    )
    assert rule["Status"] == "Enabled"
    assert rule["Expiration"]["Days"] * 86_400 >= 2 * kept
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(block.values())
    (encryption,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"][
        "Rules"
    ]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"


def test_each_actor_has_a_role_of_its_own_and_a_policy_without_wildcards(stack: Stack) -> None:
    iam = stack.client("iam")
    roles = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    actors = {"producer", "worker", "execution", "scheduler", "operator"}
    assert roles == {f"sluice-{actor}" for actor in actors}
    for actor in actors:
        assert not [action for action, _ in read_policy(iam, actor) if "*" in action]
    function = stack.client("lambda").get_function_configuration(FunctionName="sluice-producer")
    assert function["Role"].endswith(":role/sluice-producer")


def test_each_actor_may_use_the_keys_of_what_it_reads_and_no_other(stack: Stack) -> None:
    iam, attributes = stack.client("iam"), {"AttributeNames": ["KmsMasterKeyId"]}
    described = stack.client("dynamodb").describe_table(TableName="posts")["Table"]
    table = described["SSEDescription"]["KMSMasterKeyArn"]
    given = stack.client("secretsmanager").describe_secret(SecretId="search")["KmsKeyId"]
    secret = stack.client("kms").describe_key(KeyId=given)["KeyMetadata"]["Arn"]
    assert given != secret
    url = stack.environment()["SLUICE_QUEUE_URL"]
    queue = stack.client("sqs").get_queue_attributes(QueueUrl=url, **attributes)
    data = queue["Attributes"]["KmsMasterKeyId"]
    assert len({table, secret, data}) == 3
    ours = {("kms:Decrypt", data), ("kms:GenerateDataKey", data)}
    # A stream lies under its table's key.
    allowed = {
        "producer": {*ours, ("kms:Decrypt", table)},
        "worker": {*ours, ("kms:Decrypt", table)},
        "execution": {("kms:Decrypt", secret)},
        "operator": {*ours, ("kms:Decrypt", table), ("kms:Decrypt", secret)},
    }
    for actor, pairs in allowed.items():
        found = {pair for pair in read_policy(iam, actor) if pair[0].startswith("kms:")}
        assert found == pairs, actor


def read_policy(iam: Any, actor: str) -> set[tuple[str, str]]:
    """The pairs of action and resource that the actor's policy allows."""
    if actor == "operator":
        (attached,) = iam.list_attached_role_policies(RoleName="sluice-operator")[
            "AttachedPolicies"
        ]
        version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)[
            "PolicyVersion"
        ]["Document"]
    else:
        document = iam.get_role_policy(RoleName=f"sluice-{actor}", PolicyName=actor)[
            "PolicyDocument"
        ]
    return {
        (action, resource)
        for statement in document["Statement"]
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_operators_file_has_what_a_command_needs(stack: Stack) -> None:
    environment = stack.environment()
    settings = ProducerSettings.read(environment)
    assert settings.queue == "sluice-changes"
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=environment["SLUICE_DEAD_LETTER_URL"], AttributeNames=["QueueArn"]
    )
    assert attributes["Attributes"]["QueueArn"].endswith(":sluice-dead")
    told = {entry["name"]: entry["value"] for entry in stack.task()["environment"]}
    shared = environment.keys() & told.keys()
    assert "SLUICE_TASK_LIMIT_S" in shared
    assert {name: environment[name] for name in shared} == {name: told[name] for name in shared}


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Callable[[str], "subprocess.CompletedProcess[str]"]:
    """A shell of the operator's, beside the file that `terraform output -raw sluice_env` wrote."""
    text = stack.terraform.run("output", "-raw", "sluice_env")
    assert read_secret()["api_key"] not in text
    (tmp_path / "sluice.env").write_text(text)
    environment = {
        **{name.upper(): value for name, value in KEYS.items()},
        "AWS_ENDPOINT_URL": stack.url,
        "HOME": str(tmp_path),
        "PATH": provide_aws(tmp_path),
        "PYTHONPATH": str(ROOT),
    }

    def run(script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", script],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_the_operators_file_tells_address_key_and_authority(
    shell: Callable[[str], "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    done = shell(". ./sluice.env; env")
    assert (done.returncode, done.stderr) == (0, "")
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    secret = read_secret()
    assert told["SLUICE_ELASTICSEARCH_URL"] == secret["url"]
    assert told["SLUICE_ELASTICSEARCH_API_KEY"] == secret["api_key"]
    authority = Path(told["SLUICE_ELASTICSEARCH_CA_CERTS"])
    assert authority == tmp_path / ".sluice-ca.pem"
    assert authority.read_text().strip() == secret["ca"].strip()


def test_an_operators_first_command_works(
    shell: Callable[[str], "subprocess.CompletedProcess[str]"],
) -> None:
    """As docs/deploy.md writes it. The cluster of this account is away, and that alone is red."""
    done = shell(". ./sluice.env; sluice status --json")
    assert done.returncode == 1, done.stderr
    signs = json.loads(done.stdout)["pipeline"]["signs"]
    red = [sign["what"] for sign in signs if sign["level"] == "red"]
    assert red
    assert all("Elasticsearch does not answer" in what for what in red), red
    done = shell(". ./sluice.env; sluice dead-letters list --json --wait 1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == []
