# One role for each actor. No action has a wildcard, no resource is "*" but where a comment says why.
# ARNs are built from names in locals: then a plan shows each policy whole, and the tests can read it.

locals {
  actors = {
    producer  = "lambda.amazonaws.com"
    worker    = "ecs-tasks.amazonaws.com"
    execution = "ecs-tasks.amazonaws.com"
    scheduler = "scheduler.amazonaws.com"
  }
  execution_arn = "arn:${local.partition}:iam::${local.account}:role/${var.name}-execution"
  operators     = length(var.operator_principals) > 0 ? var.operator_principals : ["arn:${local.partition}:iam::${local.account}:root"]
}

data "aws_iam_policy_document" "assume" {
  for_each = local.actors

  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }
    # Only on behalf of this account: the service's own confused deputy.
    dynamic "condition" {
      for_each = contains(["ecs-tasks.amazonaws.com", "scheduler.amazonaws.com"], each.value) ? [local.account] : []
      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

data "aws_iam_policy_document" "assume_operator" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = local.operators
    }
  }
}

# ---------------------------------------------------------------- producer

resource "aws_iam_role" "producer" {
  name               = "${var.name}-producer"
  assume_role_policy = data.aws_iam_policy_document.assume["producer"].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "producer" {
  name   = "producer"
  role   = aws_iam_role.producer.name
  policy = data.aws_iam_policy_document.producer.json
}

data "aws_iam_policy_document" "producer" {
  statement {
    sid       = "ReadStreams"
    actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
    resources = local.stream_arns
  }
  statement {
    sid       = "Send"
    actions   = ["sqs:SendMessage"]
    resources = [local.queue_arn, local.dead_arn]
  }
  statement {
    sid       = "StoreImages"
    actions   = ["s3:PutObject"]
    resources = ["${local.overflow_arn}/*"]
  }
  statement {
    sid       = "KeepWhatFailed"
    actions   = ["s3:PutObject"]
    resources = ["${local.failures_arn}/*"]
  }
  statement {
    sid       = "FindTheBucketOfWhatFailed"
    actions   = ["s3:ListBucket"]
    resources = [local.failures_arn]
  }
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${format(local.arn, "logs", "log-group:${local.producer_log}")}:*"]
  }
  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [local.key_arn]
  }
  dynamic "statement" {
    for_each = length(local.table_keys) > 0 ? [local.table_keys] : []
    content {
      sid       = "ReadEncryptedStreams"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}

# ---------------------------------------------------------------- worker

resource "aws_iam_role" "worker" {
  name               = "${var.name}-worker"
  assume_role_policy = data.aws_iam_policy_document.assume["worker"].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "worker" {
  name   = "worker"
  role   = aws_iam_role.worker.name
  policy = data.aws_iam_policy_document.worker.json
}

data "aws_iam_policy_document" "worker" {
  statement {
    sid       = "Drain"
    actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    resources = [local.queue_arn]
  }
  statement {
    sid       = "DeadLetter"
    actions   = ["sqs:SendMessage"]
    resources = [local.dead_arn]
  }
  statement {
    sid       = "FetchImages"
    actions   = ["s3:GetObject"]
    resources = ["${local.overflow_arn}/*"]
  }
  statement {
    # Without it S3 answers 403 for an object that is not there, which looks like an outage.
    sid       = "TellAMissingObjectFromAForbiddenOne"
    actions   = ["s3:ListBucket"]
    resources = [local.overflow_arn]
  }
  statement {
    sid       = "ReadItems"
    actions   = ["dynamodb:BatchGetItem"]
    resources = local.table_arns
  }
  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [local.key_arn]
  }
  dynamic "statement" {
    for_each = length(local.table_keys) > 0 ? [local.table_keys] : []
    content {
      sid       = "ReadEncryptedItems"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}

# ---------------------------------------------------------------- task execution

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.assume["execution"].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "execution"
  role   = aws_iam_role.execution.name
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # this action knows no resource
  }
  statement {
    sid       = "Pull"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [local.repository_arn]
  }
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${format(local.arn, "logs", "log-group:${local.worker_log}")}:*"]
  }
  statement {
    sid       = "ReadTheSecret"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.secret_arn]
  }
  dynamic "statement" {
    for_each = length(local.secret_keys) > 0 ? [local.secret_keys] : []
    content {
      sid       = "DecryptTheSecret"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}

# ---------------------------------------------------------------- scheduler

resource "aws_iam_role" "scheduler" {
  name               = "${var.name}-scheduler"
  assume_role_policy = data.aws_iam_policy_document.assume["scheduler"].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "scheduler"
  role   = aws_iam_role.scheduler.name
  policy = data.aws_iam_policy_document.scheduler.json
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    sid       = "RunThePurge"
    actions   = ["ecs:RunTask"]
    resources = [local.purge_arn]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }
  statement {
    sid       = "PassItsRole"
    actions   = ["iam:PassRole"]
    resources = [local.execution_arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# ---------------------------------------------------------------- operator

resource "aws_iam_role" "operator" {
  name               = "${var.name}-operator"
  assume_role_policy = data.aws_iam_policy_document.assume_operator.json
  tags               = local.tags
}

resource "aws_iam_policy" "operator" {
  name        = "${var.name}-operator"
  description = "What the sluice command and docs/runbook.md need."
  policy      = data.aws_iam_policy_document.operator.json
  tags        = local.tags
}

resource "aws_iam_role_policy_attachment" "operator" {
  role       = aws_iam_role.operator.name
  policy_arn = aws_iam_policy.operator.arn
}

data "aws_iam_policy_document" "operator" {
  statement {
    sid = "ReadAndRedrive"
    actions = [
      "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage",
    ]
    resources = [local.dead_arn]
  }
  statement {
    sid       = "SendAgain"
    actions   = ["sqs:GetQueueAttributes", "sqs:SendMessage"]
    resources = [local.queue_arn]
  }
  statement {
    sid       = "Images"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.overflow_arn}/*"]
  }
  statement {
    # A checkpoint is removed at the end; an image never, for a message may still name it.
    sid       = "Checkpoints"
    actions   = ["s3:DeleteObject"]
    resources = ["${local.overflow_arn}/checkpoints/*"]
  }
  statement {
    sid       = "WhatLambdaGaveUpOn"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.failures_arn}/*"]
  }
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = [local.overflow_arn, local.failures_arn]
  }
  statement {
    sid       = "ReadTables"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Scan"]
    resources = local.table_arns
  }
  statement {
    sid       = "ReadTheSecret"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.secret_arn]
  }
  statement {
    sid       = "ReadLogs"
    actions   = ["logs:FilterLogEvents"]
    resources = [for log in [local.producer_log, local.worker_log] : "${format(local.arn, "logs", "log-group:${log}")}:*"]
  }
  statement {
    # Which figures it may read, and of which streams the mappings, AWS lets no policy say: it has
    # no resource for these actions.
    sid       = "SeeFiguresAndMappings"
    actions   = ["cloudwatch:GetMetricData", "lambda:GetAccountSettings", "lambda:ListEventSourceMappings"]
    resources = ["*"]
  }
  statement {
    sid       = "SeeTheProducersConcurrency"
    actions   = ["lambda:GetFunctionConcurrency"]
    resources = [local.function_arn]
  }
  statement {
    sid       = "StopAndStartWorkers"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = [format(local.arn, "ecs", "service/${local.worker_name}/${local.worker_name}")]
  }
  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [local.key_arn]
  }
  dynamic "statement" {
    for_each = length(concat(local.table_keys, local.secret_keys)) > 0 ? [distinct(concat(local.table_keys, local.secret_keys))] : []
    content {
      sid       = "DecryptWhatIsYours"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}
