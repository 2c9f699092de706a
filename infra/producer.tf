locals {
  function_name = "${var.name}-producer"
  function_arn  = format(local.arn, "lambda", "function:${local.function_name}")
  producer_log  = "/aws/lambda/${local.function_name}"

  # Every variable of producer/settings.py, and nothing else.
  producer_environment = {
    SLUICE_QUEUE_URL       = aws_sqs_queue.changes.url
    SLUICE_DEAD_LETTER_URL = aws_sqs_queue.dead.url
    SLUICE_OVERFLOW_BUCKET = aws_s3_bucket.overflow.bucket
    SLUICE_MESSAGE_BYTES   = tostring(var.producer.message_bytes)
    SLUICE_BATCH_BYTES     = tostring(var.producer.batch_bytes)
    SLUICE_CHUNK_BYTES     = tostring(var.producer.chunk_bytes)
    SLUICE_OLD_IMAGES      = tostring(var.old_images)
    SLUICE_LOG_LEVEL       = "INFO"
  }
}

resource "aws_cloudwatch_log_group" "producer" {
  #checkov:skip=CKV_AWS_338:Logs tell of failures, they are no archive; numbers.log_days says how long.
  name              = local.producer_log
  retention_in_days = var.numbers.log_days
  kms_key_id        = aws_kms_key.data.arn
  tags              = local.tags
}

resource "aws_lambda_function" "producer" {
  #checkov:skip=CKV_AWS_50:Tracing would double the calls of a function that only forwards; lag is measured end to end.
  #checkov:skip=CKV_AWS_115:Reserved concurrency is optional: shards and parallelization bound it already.
  #checkov:skip=CKV_AWS_116:A stream's failures go to the mapping's on-failure destination; a dead-letter queue is for asynchronous calls.
  #checkov:skip=CKV_AWS_117:It talks to SQS and S3 alone; in a VPC it would need endpoints for both and gain nothing.
  #checkov:skip=CKV_AWS_173:The environment holds names, no secret.
  #checkov:skip=CKV_AWS_272:The zip is built byte for byte the same from source, and its hash is in the plan.
  function_name                  = local.function_name
  description                    = "Forwards stream records into the queue of ${var.name}."
  role                           = aws_iam_role.producer.arn
  filename                       = var.producer_zip
  source_code_hash               = filebase64sha256(var.producer_zip)
  handler                        = "producer.handler.handler"
  runtime                        = "python3.13" # the newest that the least provider of versions.tf knows
  architectures                  = ["arm64"]
  memory_size                    = var.producer.memory_mb
  timeout                        = var.producer.timeout_s
  reserved_concurrent_executions = var.producer.reserved_concurrency
  tags                           = local.tags

  environment {
    variables = local.producer_environment
  }

  logging_config {
    log_format = "Text" # the producer writes one JSON object a line itself
    log_group  = aws_cloudwatch_log_group.producer.name
  }

  # A mapping that starts before its role may send would fail its first batches.
  depends_on = [aws_iam_role_policy.producer]
}

resource "aws_lambda_event_source_mapping" "table" {
  for_each = var.tables

  event_source_arn                   = data.aws_dynamodb_table.followed[each.key].stream_arn
  function_name                      = aws_lambda_function.producer.arn
  enabled                            = each.value.enabled
  starting_position                  = each.value.starting_position
  batch_size                         = each.value.batch_size
  maximum_batching_window_in_seconds = each.value.window_s
  parallelization_factor             = each.value.parallelization
  bisect_batch_on_function_error     = true
  function_response_types            = ["ReportBatchItemFailures"]
  maximum_retry_attempts             = each.value.retries
  maximum_record_age_in_seconds      = var.numbers.record_age_s
  tags                               = local.tags

  destination_config {
    on_failure {
      destination_arn = aws_s3_bucket.failures.arn
    }
  }

  # Counts what went to the destination: CloudWatch knows it by no other metric.
  metrics_config {
    metrics = ["EventCount"]
  }

  dynamic "filter_criteria" {
    for_each = length(each.value.filters) > 0 ? [each.value.filters] : []
    content {
      dynamic "filter" {
        for_each = filter_criteria.value
        content {
          pattern = filter.value
        }
      }
    }
  }
}

# What Lambda gave up on, with the whole records. `sluice dead-letters lambda` reads it.
resource "aws_s3_bucket" "failures" {
  #checkov:skip=CKV_AWS_18:Access is by two roles of this module; CloudTrail data events tell of it where wanted.
  #checkov:skip=CKV_AWS_21:Objects are written once and deleted when forwarded; old versions would keep what was to be deleted.
  #checkov:skip=CKV_AWS_144:The stream is of one region, and so are its failures.
  #checkov:skip=CKV2_AWS_62:An alarm tells of new objects; nothing reacts to them by itself.
  bucket        = local.failures_name
  force_destroy = var.force_destroy
  tags          = local.tags
}
