"""The assertions on the policies notice one that is too wide, too narrow or about another thing."""

import os
from pathlib import Path

import pytest

from tests.infra.terraform import Terraform, copy_module

DEAD_KEY = """\
  kms_master_key_id                 = aws_kms_key.data.arn
  kms_data_key_reuse_period_seconds = 3600
  policy                            = data.aws_iam_policy_document.queue_tls["dead"].json
"""
MUTANTS = {
    "a wildcard action": ('actions   = ["dynamodb:BatchGetItem"]', 'actions   = ["dynamodb:*"]'),
    "one action more": (
        'actions   = ["s3:GetObject"]',
        'actions   = ["s3:GetObject", "s3:PutObject"]',
    ),
    "one action less": (
        '"sqs:GetQueueAttributes", "sqs:ReceiveMessage"]',
        '"sqs:ReceiveMessage"]',
    ),
    "every image may be removed": (
        'resources = ["${local.overflow_arn}/checkpoints/*"]',
        'resources = ["${local.overflow_arn}/*"] # every one',
    ),
    "every resource": ("resources = [local.secret_arn]", 'resources = ["*"]'),
    "every resource among others": (
        "resources = [local.queue_arn, local.dead_arn]",
        'resources = [local.queue_arn, local.dead_arn, "*"]',
    ),
    "another queue": (
        'actions   = ["sqs:SendMessage"]\n    resources = [local.dead_arn]',
        'actions   = ["sqs:SendMessage"]\n    resources = [local.queue_arn]',
    ),
    "the whole table's streams": (
        "resources = local.stream_arns",
        'resources = [for t in local.table_arns : "${t}/stream/*"]',
    ),
    "a role for another service": (
        'producer  = "lambda.amazonaws.com"',
        'producer  = "ec2.amazonaws.com"',
    ),
    "plain HTTP": ('values   = ["false"]', 'values   = ["true"]'),
    "any source for dead letters": (
        'redrivePermission = "byQueue", sourceQueueArns = [local.queue_arn]',
        'redrivePermission = "allowAll"',
    ),
    "a queue under another key": (DEAD_KEY, DEAD_KEY.replace("aws_kms_key.data.arn", '"alias/x"')),
    "buckets under another key": (
        "      kms_master_key_id = aws_kms_key.data.arn",
        '      kms_master_key_id = "alias/aws/s3"',
    ),
    "any task": (
        "resources = [local.purge_arn]",
        'resources = [format(local.arn, "ecs", "task-definition/*")]',
    ),
    "on any cluster": ("values   = [local.cluster_arn]", 'values   = ["*"]'),
    "any role for the task": ("resources = [local.execution_arn]", 'resources = ["*"]'),
    "its role for any service": (
        'variable = "iam:PassedToService"\n      values   = ["ecs-tasks.amazonaws.com"]',
        'variable = "iam:PassedToService"\n      values   = ["*"]',
    ),
    "a role that the purge has no need of": (
        "execution_role_arn       = aws_iam_role.execution.arn\n  track_latest",
        "task_role_arn            = local.execution_arn\n  track_latest",
    ),
    "the scheduler of another account": (
        'contains(["ecs-tasks.amazonaws.com", "scheduler.amazonaws.com"], each.value)',
        'each.value == "ecs-tasks.amazonaws.com"',
    ),
    "every figure, and to write them": ('"cloudwatch:GetMetricData"', '"cloudwatch:*"'),
    "all of the key": ('"kms:CancelKeyDeletion"', '"kms:*"'),
}


@pytest.mark.infra
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_policy_is_noticed(module: Terraform, tmp_path: Path, mutant: str) -> None:
    old, new = MUTANTS[mutant]
    broken = Terraform(copy_module(tmp_path), os.environ)
    hits = 0
    for file in broken.directory.glob("*.tf"):
        text = file.read_text()
        hits += old in text
        file.write_text(text.replace(old, new, 1))
    assert hits == 1, f"{old!r} stands in {hits} files"
    broken.init()
    code, output = broken.try_run("test", "-filter=tests/policies.tftest.hcl")
    assert code != 0
    assert "Test assertion failed" in output
