locals {
  # What worker and producer publish of themselves: docs/metrics.md. The one place where the names stand here.
  worker_namespace = "Sluice"
  worker_metric = {
    received   = "ChangesReceived"
    lag        = "LagSeconds" # from a change's time to its document, in seconds
    polling    = "Polling"    # 1 for a worker whose poll loop comes round, each half minute
    paused     = "Paused"     # 1 while the cluster is away
    valve      = "ValveShut"  # 1 while refusals keep the valve shut
    in_work    = "InWork"
    held       = "Held"
    applied    = "ChangesApplied"
    obsolete   = "ChangesObsolete"
    folded     = "ChangesFolded"
    refused    = "ChangesRefused" # also with a second dimension, the error class
    conflicts  = "Conflicts"
    retries    = "MessagesRetried"
    wire_bytes = "WireBytes"
    json_bytes = "JsonBytes"
    size       = "ChunkChanges"
    time       = "ChunkSeconds"
    bulk       = "BulkSeconds" # of which the cluster took
  }
  producer_metric = {
    records  = "RecordsReceived"
    chunks   = "ChunksSent"
    bytes    = "BytesSent"
    objects  = "OverflowObjects"
    letters  = "RecordsDeadLettered"
    retries  = "SendRetries"
    failures = "BatchFailures"
  }

  queue_dimension    = { QueueName = local.queue_name }
  function_dimension = { FunctionName = local.function_name }
  worker_dimension   = { Queue = local.queue_name }

  # anchor: the heading in docs/runbook.md. for: how many periods in a row.
  plain_alarms = {
    oldest-message = {
      namespace  = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", stat = "Maximum", dimensions = local.queue_dimension
      comparison = "GreaterThanThreshold", threshold = var.alarms.age_s, period = 60, for = 3, missing = "notBreaching"
      says       = "A change has waited in the queue for more than ${var.alarms.age_s} s."
    }
    dead-letters = {
      namespace  = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", stat = "Maximum", dimensions = { QueueName = local.dead_name }
      comparison = "GreaterThanThreshold", threshold = 0, period = 60, for = 1, missing = "notBreaching"
      says       = "Changes were refused and wait for a person."
    }
    in-flight = {
      namespace  = "AWS/SQS", metric = "ApproximateNumberOfMessagesNotVisible", stat = "Maximum", dimensions = local.queue_dimension
      comparison = "GreaterThanThreshold", threshold = 100000, period = 60, for = 1, missing = "notBreaching"
      says       = "SQS hands out no more than about 120,000 messages at once, and does not say so."
    }
    iterator-age = {
      namespace  = "AWS/Lambda", metric = "IteratorAge", stat = "Maximum", dimensions = local.function_dimension
      comparison = "GreaterThanThreshold", threshold = var.alarms.iterator_age_s * 1000, period = 60, for = 3, missing = "notBreaching"
      says       = "The producer is more than ${var.alarms.iterator_age_s} s behind a stream, which forgets after 24 hours."
    }
    producer-errors = {
      namespace  = "AWS/Lambda", metric = "Errors", stat = "Sum", dimensions = local.function_dimension
      comparison = "GreaterThanThreshold", threshold = 0, period = 60, for = 5, missing = "notBreaching"
      says       = "The producer fails as a whole, minute after minute."
    }
    producer-throttles = {
      namespace  = "AWS/Lambda", metric = "Throttles", stat = "Sum", dimensions = local.function_dimension
      comparison = "GreaterThanThreshold", threshold = 0, period = 60, for = 5, missing = "notBreaching"
      says       = "Lambda has no concurrency left for the producer."
    }
    failures-lost = {
      namespace  = "AWS/Lambda", metric = "DestinationDeliveryFailures", stat = "Sum", dimensions = local.function_dimension
      comparison = "GreaterThanThreshold", threshold = 0, period = 60, for = 1, missing = "notBreaching"
      says       = "Lambda gave up on records and could not keep them."
    }
    too-few-workers = {
      namespace  = "ECS/ContainerInsights", metric = "RunningTaskCount", stat = "Maximum", dimensions = local.backlog_metrics.tasks.dimensions
      comparison = "LessThanThreshold", threshold = var.worker.min_tasks, period = 60, for = 10, missing = "breaching"
      says       = "Fewer workers run than min_tasks asks for."
    }
  }

  failure_alarms = {
    for key, mapping in aws_lambda_event_source_mapping.table : "on-failure-${key}" => {
      namespace  = "AWS/Lambda", metric = "OnFailureDestinationDeliveredEventCount", stat = "Sum"
      dimensions = { EventSourceMappingUUID = mapping.uuid }
      comparison = "GreaterThanThreshold", threshold = 0, period = 60, for = 1, missing = "notBreaching"
      says       = "Lambda gave up on records of ${key} and put them into the bucket ${local.failures_name}."
    }
  }

  worker_alarms = {
    lag-p99 = {
      namespace  = local.worker_namespace, metric = local.worker_metric.lag, stat = "p99", dimensions = local.worker_dimension
      comparison = "GreaterThanThreshold", threshold = var.alarms.lag_s, period = 60, for = 3, missing = "notBreaching"
      says       = "One change in a hundred takes more than ${var.alarms.lag_s} s to become a document."
    }
    worker-polling = {
      namespace  = local.worker_namespace, metric = local.worker_metric.polling, stat = "Maximum", dimensions = local.worker_dimension
      comparison = "LessThanThreshold", threshold = 1, period = 60, for = 5, missing = "breaching"
      says       = "No worker says that it polls."
    }
    valve-shut = {
      namespace  = local.worker_namespace, metric = local.worker_metric.valve, stat = "Maximum", dimensions = local.worker_dimension
      comparison = "GreaterThanThreshold", threshold = 0, period = 60, for = 1, missing = "notBreaching"
      says       = "So many changes are refused that the worker has stopped taking more."
    }
  }

  # An alarm of each table leads to one section.
  anchors = merge({ for key in keys(local.plain_alarms) : key => key }, { for key in keys(var.tables) : "on-failure-${key}" => "on-failure" }, { for key in keys(local.worker_alarms) : key => key })
}

resource "aws_cloudwatch_metric_alarm" "plain" {
  for_each = merge(local.plain_alarms, local.failure_alarms, var.alarms.worker_metrics ? local.worker_alarms : {})

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.says} What to do: ${var.alarms.runbook}#${local.anchors[each.key]}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = startswith(each.value.stat, "p") ? null : each.value.stat
  extended_statistic  = startswith(each.value.stat, "p") ? each.value.stat : null
  dimensions          = each.value.dimensions
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.for
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarms.topics
  ok_actions          = var.alarms.topics
  tags                = local.tags
}

# SQS counts every poll, answered with messages or empty: with neither, nobody polls.
resource "aws_cloudwatch_metric_alarm" "not_polling" {
  alarm_name          = "${var.name}-not-polling"
  alarm_description   = "No worker asks the queue for messages. What to do: ${var.alarms.runbook}#not-polling"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = 2
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarms.topics
  ok_actions          = var.alarms.topics
  tags                = local.tags

  metric_query {
    id          = "polls"
    label       = "Polls"
    expression  = "FILL(empty, 0) + FILL(full, 0)"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { empty = "NumberOfEmptyReceives", full = "NumberOfMessagesReceived" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value
        stat        = "Sum"
        period      = 300
        dimensions  = local.queue_dimension
      }
    }
  }
}
