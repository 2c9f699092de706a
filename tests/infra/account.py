"""An account made of moto and the shim, and what a stack in it is told."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import certifi

from console.local.process import Recipe, Service, start
from tests.infra.terraform import ROOT, Terraform

REGION = "us-east-1"
SERVICES = (
    *("applicationautoscaling", "cloudwatch", "cloudwatchlogs", "dynamodb", "ec2", "ecr", "ecs"),
    *("iam", "kms", "lambda", "s3", "scheduler", "secretsmanager", "sqs", "sts"),
)
CLUSTER = "https://127.0.0.1:9"
"""Where nothing listens."""

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@dataclass(frozen=True, slots=True)
class Stack:
    """An applied example, and the account it stands in."""

    terraform: Terraform
    url: str

    def client(self, service: str) -> Any:
        return connect(self.url, service)

    def environment(self) -> dict[str, str]:
        """The operator's file, as far as it is plain text."""
        lines = self.terraform.run("output", "-raw", "sluice_env").splitlines()
        pairs = (line.removeprefix("export ").partition("=") for line in lines if "='" in line)
        return {name: value.strip("'") for name, _, value in pairs}

    def task(self) -> Any:
        """The worker's container."""
        found = self.client("ecs").describe_task_definition(taskDefinition="sluice-worker")
        return found["taskDefinition"]["containerDefinitions"][0]


def write_provider(directory: Path, url: str) -> None:
    """A provider that talks to moto. Few retries: moto's errors do not pass."""
    endpoints = "\n".join(f'    {service} = "{url}"' for service in SERVICES)
    (directory / "moto_override.tf").write_text(
        f"""provider "aws" {{
  region                      = "{REGION}"
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  max_retries                 = 2
  endpoints {{
{endpoints}
  }}
}}
"""
    )


def write_variables(directory: Path, stack: Stack, archive: Path, **more: object) -> None:
    ec2 = stack.client("ec2")
    values = {
        "vpc_id": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "subnet_ids": [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"][:2]],
        "secret": "search",
        "image": "1.0.0",
        "producer_zip": str(archive),
    }
    (directory / "terraform.tfvars.json").write_text(json.dumps({**values, **more}))


def build_archive(directory: Path) -> Path:
    archive = directory / "producer.zip"
    command = [sys.executable, str(ROOT / "infra" / "package.py"), "--output", str(archive)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return archive


def start_account(directory: Path) -> Service:
    """moto with the shim, and in it the secret that the examples name, under a key of its own."""
    recipe = Recipe(
        "moto with the shim",
        lambda port: [sys.executable, "-m", "tests.infra.shim", str(port)],
        "/moto-api/",
    )
    service = start(recipe, directory)
    connect(service.url, "secretsmanager").create_secret(
        Name="search",
        SecretString=json.dumps(read_secret()),
        # Its ID, which Secrets Manager tells as it was given; a policy needs the ARN.
        KmsKeyId=create_key(service.url).rpartition("/")[2],
    )
    return service


def read_secret() -> dict[str, str]:
    """What the examples' secret holds; its authority is one that everybody knows."""
    bundle = Path(certifi.where()).read_text()
    end = "-----END CERTIFICATE-----\n"
    authority = bundle[bundle.index("-----BEGIN") : bundle.index(end)] + end
    return {"url": CLUSTER, "api_key": "dGVzdA==", "ca": authority}


def connect(url: str, service: str) -> Any:
    """A client of one service of the account."""
    make: Any = boto3.client
    return make(service, endpoint_url=url, region_name=REGION, **KEYS)


def create_key(url: str) -> str:
    """A key of the account's own; its ARN."""
    return str(connect(url, "kms").create_key()["KeyMetadata"]["Arn"])


def encrypt_table(directory: Path, key: str) -> None:
    """Put the example's table under a key of its own."""
    (directory / "key_override.tf").write_text(
        f"""resource "aws_dynamodb_table" "posts" {{
  server_side_encryption {{
    enabled     = true
    kms_key_arn = "{key}"
  }}
}}
"""
    )


def name_authority(directory: Path) -> None:
    """Have the cluster's authority in the secret, as where it is a private one."""
    (directory / "authority_override.tf").write_text(
        """module "sluice" {
  elasticsearch = { secret = var.secret, private_ca = true }
}
"""
    )


AWS = """\
#!{python}
import sys
import boto3
assert sys.argv[1:3] == ["secretsmanager", "get-secret-value"], sys.argv
given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
assert given["--query"] == "SecretString" and given["--output"] == "text", given
client = boto3.client("secretsmanager", region_name=given["--region"])
print(client.get_secret_value(SecretId=given["--secret-id"])["SecretString"])
"""


def provide_aws(directory: Path) -> str:
    """A PATH with `aws` in it: the real one, or one that does what the operator's file asks."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = shutil.which("aws")
    if found and subprocess.run([found, "--version"], check=False).returncode == 0:
        return path
    (directory / "aws").write_text(AWS.format(python=sys.executable))
    (directory / "aws").chmod(0o755)
    return f"{directory}{os.pathsep}{path}"
