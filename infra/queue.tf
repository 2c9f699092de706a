locals {
  queue_name    = "${var.name}-changes"
  dead_name     = "${var.name}-dead"
  queue_arn     = format(local.arn, "sqs", local.queue_name)
  dead_arn      = format(local.arn, "sqs", local.dead_name)
  overflow_name = "${var.name}-overflow-${local.account}-${local.region}"
  failures_name = "${var.name}-failures-${local.account}-${local.region}"
  overflow_arn  = "arn:${local.partition}:s3:::${local.overflow_name}"
  failures_arn  = "arn:${local.partition}:s3:::${local.failures_name}"
  key_arn       = aws_kms_key.data.arn
  day_s         = 86400

  buckets = {
    overflow = { id = aws_s3_bucket.overflow.id, arn = local.overflow_arn, days = var.numbers.overflow_days }
    failures = { id = aws_s3_bucket.failures.id, arn = local.failures_arn, days = var.numbers.failure_days }
  }
}

# A dead-letter queue must be there before its source.
resource "aws_sqs_queue" "dead" {
  name                              = local.dead_name
  message_retention_seconds         = var.numbers.dead_letter_days * local.day_s
  visibility_timeout_seconds        = var.numbers.visibility_s
  max_message_size                  = var.producer.message_bytes
  kms_master_key_id                 = aws_kms_key.data.arn
  kms_data_key_reuse_period_seconds = 3600
  policy                            = data.aws_iam_policy_document.queue_tls["dead"].json
  tags                              = local.tags

  # Only our queue may name it as its dead-letter queue.
  redrive_allow_policy = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [local.queue_arn] })
}

resource "aws_sqs_queue" "changes" {
  name                              = local.queue_name
  message_retention_seconds         = var.numbers.queue_days * local.day_s
  visibility_timeout_seconds        = var.numbers.visibility_s
  max_message_size                  = var.producer.message_bytes
  receive_wait_time_seconds         = 5
  kms_master_key_id                 = aws_kms_key.data.arn
  kms_data_key_reuse_period_seconds = 3600
  policy                            = data.aws_iam_policy_document.queue_tls["changes"].json
  redrive_policy                    = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = var.numbers.receives })
  tags                              = local.tags
}

data "aws_iam_policy_document" "queue_tls" {
  for_each = { changes = local.queue_arn, dead = local.dead_arn }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

# Images too large for a message. An object outlives every message that could name it.
resource "aws_s3_bucket" "overflow" {
  #checkov:skip=CKV_AWS_18:Access is by three roles of this module; CloudTrail data events tell of it where wanted.
  #checkov:skip=CKV_AWS_21:Objects are written once and never changed.
  #checkov:skip=CKV_AWS_144:A message and its images are of one region.
  #checkov:skip=CKV2_AWS_62:Nothing reacts to these objects; a message names each.
  bucket        = local.overflow_name
  force_destroy = var.force_destroy
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "closed" {
  for_each = local.buckets

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "ours" {
  for_each = local.buckets

  bucket = each.value.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "ends" {
  for_each = local.buckets

  bucket = each.value.id
  rule {
    id     = "end"
    status = "Enabled"
    filter {}
    expiration {
      days = each.value.days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "tls" {
  for_each = local.buckets

  bucket = each.value.id
  policy = data.aws_iam_policy_document.bucket_tls[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.closed]
}

data "aws_iam_policy_document" "bucket_tls" {
  for_each = { overflow = local.overflow_arn, failures = local.failures_arn }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value, "${each.value}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

# One key for messages, objects and logs.
resource "aws_kms_key" "data" {
  description             = "Messages, objects and logs of ${var.name}."
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
  tags                    = local.tags
}

resource "aws_kms_alias" "data" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.data.key_id
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:In a key's policy the account's own policies must be let decide, else nobody can manage the key.
  #checkov:skip=CKV_AWS_111:The same: what writes are allowed is for the account's policies to say.
  #checkov:skip=CKV_AWS_356:In a key's policy "*" is the key itself.
  statement {
    sid = "TheAccountsPoliciesDecide"
    actions = [
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:CreateGrant", "kms:Decrypt", "kms:DeleteAlias", "kms:DescribeKey",
      "kms:DisableKey", "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:Encrypt",
      "kms:GenerateDataKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants", "kms:ListKeyPolicies",
      "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:RotateKeyOnDemand",
      "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
    ]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    # Principal, actions and condition as CloudWatch Logs asks for them (its User Guide, "Encrypt log data in CloudWatch
    # Logs using AWS KMS": Encrypt*, Decrypt*, ReEncrypt*, GenerateDataKey* and Describe*), each by name. Left out are
    # pairs of data keys, which are asymmetric: the same page says that it encrypts with symmetric keys alone.
    sid = "TheLogsOfTheseGroups"
    actions = [
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
      "kms:ReEncryptFrom", "kms:ReEncryptTo",
    ]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = [format(local.arn, "logs", "log-group:${local.producer_log}"), format(local.arn, "logs", "log-group:${local.worker_log}")]
    }
  }
}
