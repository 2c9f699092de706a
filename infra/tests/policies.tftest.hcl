# Each policy, whole: the exact pairs of action and resource. The documents are made by the real
# provider, which asks no AWS service. tests/infra/test_policies.py breaks the policies and sees this fail.
# A table under a key of its own cannot be put here (an override leaves its nested blocks empty): tests/infra/test_cycle.py has one.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}

variables {
  producer_zip   = "package.py"
  tables         = { posts = {} }
  tables_modules = "examples.posts.tables"
  image          = "1"
  elasticsearch  = { secret = "search" }
  network        = { vpc_id = "vpc-1", subnet_ids = ["subnet-1"] }
}

override_data {
  target = data.aws_caller_identity.here
  values = { account_id = "123456789012" }
}
override_data {
  target = data.aws_dynamodb_table.followed
  values = {
    arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/posts"
    stream_arn       = "arn:aws:dynamodb:us-east-1:123456789012:table/posts/stream/2026-01-01T00:00:00.000"
    stream_enabled   = true
    stream_view_type = "NEW_IMAGE"
  }
}
override_data {
  target = data.aws_secretsmanager_secret.elasticsearch
  values = { arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:search-AbCdEf", kms_key_id = "alias/search" }
}
override_data {
  target = data.aws_kms_key.secret
  values = { arn = "arn:aws:kms:us-east-1:123456789012:key/3" }
}
override_resource {
  target          = aws_kms_key.data
  override_during = plan
  values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/1" }
}

override_resource {
  target          = aws_ecs_task_definition.purge
  override_during = plan
  values          = { arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/sluice-purge:1" }
}

run "every_policy_is_exact" {
  command = plan

  assert {
    condition = sort(flatten([for s in jsondecode(data.aws_iam_policy_document.producer.json).Statement : [for a in flatten([s.Action]) : [for r in flatten([s.Resource]) : "${a} ${r}"]]])) == sort([
      "dynamodb:DescribeStream arn:aws:dynamodb:us-east-1:123456789012:table/posts/stream/2026-01-01T00:00:00.000",
      "dynamodb:GetRecords arn:aws:dynamodb:us-east-1:123456789012:table/posts/stream/2026-01-01T00:00:00.000",
      "dynamodb:GetShardIterator arn:aws:dynamodb:us-east-1:123456789012:table/posts/stream/2026-01-01T00:00:00.000",
      "dynamodb:ListStreams arn:aws:dynamodb:us-east-1:123456789012:table/posts/stream/2026-01-01T00:00:00.000",
      "kms:Decrypt arn:aws:kms:us-east-1:123456789012:key/1",
      "kms:GenerateDataKey arn:aws:kms:us-east-1:123456789012:key/1",
      "logs:CreateLogStream arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/sluice-producer:*",
      "logs:PutLogEvents arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/sluice-producer:*",
      "s3:ListBucket arn:aws:s3:::sluice-failures-123456789012-us-east-1",
      "s3:PutObject arn:aws:s3:::sluice-failures-123456789012-us-east-1/*",
      "s3:PutObject arn:aws:s3:::sluice-overflow-123456789012-us-east-1/*",
      "sqs:SendMessage arn:aws:sqs:us-east-1:123456789012:sluice-changes",
      "sqs:SendMessage arn:aws:sqs:us-east-1:123456789012:sluice-dead",
    ])
    error_message = "the producer's policy is not what this test says"
  }
  assert {
    condition     = alltrue([for s in jsondecode(data.aws_iam_policy_document.producer.json).Statement : s.Effect == "Allow" && !contains(keys(s), "NotAction") && !contains(keys(s), "NotResource")])
    error_message = "the producer's policy must name what it allows"
  }

  assert {
    condition = sort(flatten([for s in jsondecode(data.aws_iam_policy_document.worker.json).Statement : [for a in flatten([s.Action]) : [for r in flatten([s.Resource]) : "${a} ${r}"]]])) == sort([
      "dynamodb:BatchGetItem arn:aws:dynamodb:us-east-1:123456789012:table/posts",
      "kms:Decrypt arn:aws:kms:us-east-1:123456789012:key/1",
      "kms:GenerateDataKey arn:aws:kms:us-east-1:123456789012:key/1",
      "s3:GetObject arn:aws:s3:::sluice-overflow-123456789012-us-east-1/*",
      "s3:ListBucket arn:aws:s3:::sluice-overflow-123456789012-us-east-1",
      "sqs:ChangeMessageVisibility arn:aws:sqs:us-east-1:123456789012:sluice-changes",
      "sqs:DeleteMessage arn:aws:sqs:us-east-1:123456789012:sluice-changes",
      "sqs:GetQueueAttributes arn:aws:sqs:us-east-1:123456789012:sluice-changes",
      "sqs:ReceiveMessage arn:aws:sqs:us-east-1:123456789012:sluice-changes",
      "sqs:SendMessage arn:aws:sqs:us-east-1:123456789012:sluice-dead",
    ])
    error_message = "the worker's policy is not what this test says"
  }
  assert {
    condition     = alltrue([for s in jsondecode(data.aws_iam_policy_document.worker.json).Statement : s.Effect == "Allow" && !contains(keys(s), "NotAction") && !contains(keys(s), "NotResource")])
    error_message = "the worker's policy must name what it allows"
  }

  assert {
    condition = sort(flatten([for s in jsondecode(data.aws_iam_policy_document.execution.json).Statement : [for a in flatten([s.Action]) : [for r in flatten([s.Resource]) : "${a} ${r}"]]])) == sort([
      "ecr:BatchCheckLayerAvailability arn:aws:ecr:us-east-1:123456789012:repository/sluice-worker",
      "ecr:BatchGetImage arn:aws:ecr:us-east-1:123456789012:repository/sluice-worker",
      "ecr:GetAuthorizationToken *",
      "ecr:GetDownloadUrlForLayer arn:aws:ecr:us-east-1:123456789012:repository/sluice-worker",
      "kms:Decrypt arn:aws:kms:us-east-1:123456789012:key/3",
      "logs:CreateLogStream arn:aws:logs:us-east-1:123456789012:log-group:/ecs/sluice-worker:*",
      "logs:PutLogEvents arn:aws:logs:us-east-1:123456789012:log-group:/ecs/sluice-worker:*",
      "secretsmanager:GetSecretValue arn:aws:secretsmanager:us-east-1:123456789012:secret:search-AbCdEf",
    ])
    error_message = "the execution's policy is not what this test says"
  }
  assert {
    condition     = alltrue([for s in jsondecode(data.aws_iam_policy_document.execution.json).Statement : s.Effect == "Allow" && !contains(keys(s), "NotAction") && !contains(keys(s), "NotResource")])
    error_message = "the execution's policy must name what it allows"
  }

  assert {
    condition = sort(flatten([for s in jsondecode(data.aws_iam_policy_document.scheduler.json).Statement : [for a in flatten([s.Action]) : [for r in flatten([s.Resource]) : "${a} ${r} ${jsonencode(try(s.Condition, {}))}"]]])) == sort([
      "ecs:RunTask arn:aws:ecs:us-east-1:123456789012:task-definition/sluice-purge:1 {\"ArnEquals\":{\"ecs:cluster\":\"arn:aws:ecs:us-east-1:123456789012:cluster/sluice-worker\"}}",
      "iam:PassRole arn:aws:iam::123456789012:role/sluice-execution {\"StringEquals\":{\"iam:PassedToService\":\"ecs-tasks.amazonaws.com\"}}",
    ])
    error_message = "the scheduler's policy is not what this test says"
  }
  assert {
    condition     = alltrue([for s in jsondecode(data.aws_iam_policy_document.scheduler.json).Statement : s.Effect == "Allow" && !contains(keys(s), "NotAction") && !contains(keys(s), "NotResource")])
    error_message = "the scheduler's policy must name what it allows"
  }
  assert {
    condition     = local.execution_arn == "arn:aws:iam::123456789012:role/${aws_iam_role.execution.name}" && aws_ecs_task_definition.purge.task_role_arn == null
    error_message = "the role that the scheduler passes must be the only one of the purge"
  }

  assert {
    condition = sort(flatten([for s in jsondecode(data.aws_iam_policy_document.operator.json).Statement : [for a in flatten([s.Action]) : [for r in flatten([s.Resource]) : "${a} ${r}"]]])) == sort([
      "cloudwatch:GetMetricData *",
      "dynamodb:BatchGetItem arn:aws:dynamodb:us-east-1:123456789012:table/posts",
      "dynamodb:DescribeTable arn:aws:dynamodb:us-east-1:123456789012:table/posts",
      "dynamodb:GetItem arn:aws:dynamodb:us-east-1:123456789012:table/posts",
      "dynamodb:Scan arn:aws:dynamodb:us-east-1:123456789012:table/posts",
      "ecs:DescribeServices arn:aws:ecs:us-east-1:123456789012:service/sluice-worker/sluice-worker",
      "ecs:UpdateService arn:aws:ecs:us-east-1:123456789012:service/sluice-worker/sluice-worker",
      "kms:Decrypt arn:aws:kms:us-east-1:123456789012:key/1",
      "kms:Decrypt arn:aws:kms:us-east-1:123456789012:key/3",
      "kms:GenerateDataKey arn:aws:kms:us-east-1:123456789012:key/1",
      "lambda:GetAccountSettings *",
      "lambda:GetFunctionConcurrency arn:aws:lambda:us-east-1:123456789012:function:sluice-producer",
      "lambda:ListEventSourceMappings *",
      "logs:FilterLogEvents arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/sluice-producer:*",
      "logs:FilterLogEvents arn:aws:logs:us-east-1:123456789012:log-group:/ecs/sluice-worker:*",
      "s3:DeleteObject arn:aws:s3:::sluice-failures-123456789012-us-east-1/*",
      "s3:DeleteObject arn:aws:s3:::sluice-overflow-123456789012-us-east-1/checkpoints/*",
      "s3:GetObject arn:aws:s3:::sluice-failures-123456789012-us-east-1/*",
      "s3:GetObject arn:aws:s3:::sluice-overflow-123456789012-us-east-1/*",
      "s3:ListBucket arn:aws:s3:::sluice-failures-123456789012-us-east-1",
      "s3:ListBucket arn:aws:s3:::sluice-overflow-123456789012-us-east-1",
      "s3:PutObject arn:aws:s3:::sluice-failures-123456789012-us-east-1/*",
      "s3:PutObject arn:aws:s3:::sluice-overflow-123456789012-us-east-1/*",
      "secretsmanager:GetSecretValue arn:aws:secretsmanager:us-east-1:123456789012:secret:search-AbCdEf",
      "sqs:ChangeMessageVisibility arn:aws:sqs:us-east-1:123456789012:sluice-dead",
      "sqs:DeleteMessage arn:aws:sqs:us-east-1:123456789012:sluice-dead",
      "sqs:GetQueueAttributes arn:aws:sqs:us-east-1:123456789012:sluice-changes",
      "sqs:GetQueueAttributes arn:aws:sqs:us-east-1:123456789012:sluice-dead",
      "sqs:ReceiveMessage arn:aws:sqs:us-east-1:123456789012:sluice-dead",
      "sqs:SendMessage arn:aws:sqs:us-east-1:123456789012:sluice-changes",
      "sqs:SendMessage arn:aws:sqs:us-east-1:123456789012:sluice-dead",
    ])
    error_message = "the operator's policy is not what this test says"
  }
  assert {
    condition     = alltrue([for s in jsondecode(data.aws_iam_policy_document.operator.json).Statement : s.Effect == "Allow" && !contains(keys(s), "NotAction") && !contains(keys(s), "NotResource")])
    error_message = "the operator's policy must name what it allows"
  }

  assert {
    condition = { for name, doc in data.aws_iam_policy_document.assume : name => "${jsondecode(doc.json).Statement[0].Action} ${jsondecode(doc.json).Statement[0].Principal.Service}" } == {
      execution = "sts:AssumeRole ecs-tasks.amazonaws.com"
      producer  = "sts:AssumeRole lambda.amazonaws.com"
      scheduler = "sts:AssumeRole scheduler.amazonaws.com"
      worker    = "sts:AssumeRole ecs-tasks.amazonaws.com"
    }
    error_message = "a role must be for its own service"
  }
  assert {
    condition     = alltrue([for name in ["execution", "scheduler", "worker"] : try(jsondecode(data.aws_iam_policy_document.assume[name].json).Statement[0].Condition, {}) == { StringEquals = { "aws:SourceAccount" = "123456789012" } }])
    error_message = "a service that acts for many accounts may take on a role for this one alone"
  }
  assert {
    condition     = jsondecode(data.aws_iam_policy_document.assume_operator.json).Statement[0].Principal.AWS == "arn:aws:iam::123456789012:root"
    error_message = "the operator's role must be for this account"
  }
  assert {
    condition = alltrue([for doc in concat(values(data.aws_iam_policy_document.queue_tls), values(data.aws_iam_policy_document.bucket_tls)) :
      length(jsondecode(doc.json).Statement) == 1
      && jsondecode(doc.json).Statement[0].Effect == "Deny"
      && jsondecode(doc.json).Statement[0].Principal == "*"
    && jsondecode(doc.json).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }])
    error_message = "queues and buckets must refuse whoever comes without TLS"
  }
  assert {
    condition     = jsondecode(data.aws_iam_policy_document.queue_tls["changes"].json).Statement[0].Resource == local.queue_arn && jsondecode(data.aws_iam_policy_document.queue_tls["dead"].json).Statement[0].Resource == local.dead_arn
    error_message = "each queue's policy must be about that queue"
  }
  assert {
    condition     = sort(flatten([jsondecode(data.aws_iam_policy_document.bucket_tls["overflow"].json).Statement[0].Resource])) == sort(["arn:aws:s3:::sluice-overflow-123456789012-us-east-1/*", "arn:aws:s3:::sluice-overflow-123456789012-us-east-1"])
    error_message = "the bucket's policy must be about the bucket and what is in it"
  }
  assert {
    condition     = jsondecode(aws_sqs_queue.dead.redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = [local.queue_arn] }
    error_message = "only our queue may name this dead-letter queue"
  }
  assert {
    condition     = alltrue([for s in jsondecode(data.aws_iam_policy_document.key.json).Statement : alltrue([for a in flatten([s.Action]) : !strcontains(a, "*")])])
    error_message = "a key's policy has no wildcard action either"
  }
  assert {
    condition     = [for s in jsondecode(data.aws_iam_policy_document.key.json).Statement : s.Principal] == [{ AWS = "arn:aws:iam::123456789012:root" }, { Service = "logs.us-east-1.amazonaws.com" }]
    error_message = "the key is for this account and its logs alone"
  }
  assert {
    condition     = sort(jsondecode(data.aws_iam_policy_document.key.json).Statement[1].Action) == sort(["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"])
    error_message = "the logs may use the key for what they hold, and not manage it"
  }
  assert {
    condition     = sort(jsondecode(data.aws_iam_policy_document.key.json).Statement[1].Condition.ArnEquals["kms:EncryptionContext:aws:logs:arn"]) == sort(["arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/sluice-producer", "arn:aws:logs:us-east-1:123456789012:log-group:/ecs/sluice-worker"])
    error_message = "the key is for the logs of the two groups alone"
  }
  assert {
    condition     = aws_sqs_queue.changes.kms_master_key_id == aws_kms_key.data.arn && aws_sqs_queue.dead.kms_master_key_id == aws_kms_key.data.arn
    error_message = "the key that the policies name must be the queues'"
  }
  assert {
    condition     = alltrue([for b in aws_s3_bucket_server_side_encryption_configuration.ours : one(one(b.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.data.arn]) && length(aws_s3_bucket_server_side_encryption_configuration.ours) == 2
    error_message = "the key that the policies name must be the buckets'"
  }
  assert {
    condition     = aws_cloudwatch_log_group.producer.kms_key_id == aws_kms_key.data.arn && aws_cloudwatch_log_group.worker.kms_key_id == aws_kms_key.data.arn
    error_message = "the key that the policies name must be the logs'"
  }
}
