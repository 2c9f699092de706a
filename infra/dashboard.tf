locals {
  # Title, then lines of [namespace, metric, dimension, value, ..., options].
  widgets = [
    { title = "Changes waiting and in work", lines = [
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", local.queue_name, { stat = "Maximum", label = "waiting" }],
      ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", local.queue_name, { stat = "Maximum", label = "in work" }],
    ] },
    { title = "Age of the oldest message, s", lines = [
      ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", local.queue_name, { stat = "Maximum", label = "age" }],
    ] },
    { title = "Dead letters", lines = [
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", local.dead_name, { stat = "Maximum", label = "waiting for a person" }],
    ] },
    { title = "Messages in and out, a minute", lines = [
      ["AWS/SQS", "NumberOfMessagesSent", "QueueName", local.queue_name, { stat = "Sum", label = "in" }],
      ["AWS/SQS", "NumberOfMessagesDeleted", "QueueName", local.queue_name, { stat = "Sum", label = "out" }],
    ] },
    { title = "Workers", lines = [
      ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", local.worker_name, "ServiceName", local.worker_name, { stat = "Average", label = "running" }],
      ["ECS/ContainerInsights", "DesiredTaskCount", "ClusterName", local.worker_name, "ServiceName", local.worker_name, { stat = "Average", label = "wanted" }],
    ] },
    { title = "Workers: processor and memory, %", lines = [
      ["AWS/ECS", "CPUUtilization", "ClusterName", local.worker_name, "ServiceName", local.worker_name, { stat = "Average" }],
      ["AWS/ECS", "MemoryUtilization", "ClusterName", local.worker_name, "ServiceName", local.worker_name, { stat = "Maximum" }],
    ] },
    { title = "Behind the streams, ms", lines = [
      ["AWS/Lambda", "IteratorAge", "FunctionName", local.function_name, { stat = "Maximum", label = "iterator age" }],
    ] },
    { title = "Producer", lines = [
      ["AWS/Lambda", "Invocations", "FunctionName", local.function_name, { stat = "Sum" }],
      ["AWS/Lambda", "Errors", "FunctionName", local.function_name, { stat = "Sum" }],
      ["AWS/Lambda", "Throttles", "FunctionName", local.function_name, { stat = "Sum" }],
    ] },
    { title = "Lag from change to document, s", lines = [
      for stat in ["p50", "p95", "p99"] :
      [local.worker_namespace, local.worker_metric.lag, "Queue", local.queue_name, { stat = stat, label = stat }]
    ] },
    { title = "Changes, a minute", lines = [
      for what in ["received", "applied", "obsolete", "folded", "refused"] :
      [local.worker_namespace, local.worker_metric[what], "Queue", local.queue_name, { stat = "Sum", label = what }]
    ] },
    { title = "Refused changes by error class, a minute", lines = [
      [{ expression = "SEARCH('{${local.worker_namespace},Queue,Error} MetricName=\"${local.worker_metric.refused}\" Queue=\"${local.queue_name}\"', 'Sum', 60)", id = "refused", label = "" }],
    ] },
    { title = "Workers that pause, valves that are shut", lines = [
      [local.worker_namespace, local.worker_metric.paused, "Queue", local.queue_name, { stat = "Maximum", label = "cluster away" }],
      [local.worker_namespace, local.worker_metric.valve, "Queue", local.queue_name, { stat = "Maximum", label = "valve shut" }],
      [local.worker_namespace, local.worker_metric.polling, "Queue", local.queue_name, { stat = "Minimum", label = "polling" }],
    ] },
    { title = "Messages of one worker", lines = [
      for what in ["in_work", "held"] :
      [local.worker_namespace, local.worker_metric[what], "Queue", local.queue_name, { stat = "Maximum", label = what }]
    ] },
    { title = "Seconds for a chunk, and its changes", lines = [
      [local.worker_namespace, local.worker_metric.time, "Queue", local.queue_name, { stat = "p50", label = "s, p50" }],
      [local.worker_namespace, local.worker_metric.time, "Queue", local.queue_name, { stat = "p99", label = "s, p99" }],
      [local.worker_namespace, local.worker_metric.bulk, "Queue", local.queue_name, { stat = "p99", label = "s of bulks, p99" }],
      [local.worker_namespace, local.worker_metric.size, "Queue", local.queue_name, { stat = "p50", label = "changes, p50", yAxis = "right" }],
    ] },
    { title = "Decided or tried again, a minute", lines = [
      for what in ["conflicts", "retries"] :
      [local.worker_namespace, local.worker_metric[what], "Queue", local.queue_name, { stat = "Sum", label = what }]
    ] },
    { title = "Bytes of chunks, a minute", lines = [
      for what in ["wire_bytes", "json_bytes"] :
      [local.worker_namespace, local.worker_metric[what], "Queue", local.queue_name, { stat = "Sum", label = what }]
    ] },
    { title = "Producer: records and chunks, a minute", lines = [
      for what in ["records", "chunks"] :
      [local.worker_namespace, local.producer_metric[what], "Queue", local.queue_name, { stat = "Sum", label = what }]
    ] },
    { title = "Producer: bytes sent, and objects, a minute", lines = [
      [local.worker_namespace, local.producer_metric.bytes, "Queue", local.queue_name, { stat = "Sum", label = "bytes" }],
      [local.worker_namespace, local.producer_metric.objects, "Queue", local.queue_name, { stat = "Sum", label = "objects", yAxis = "right" }],
    ] },
    { title = "Producer: what went wrong, a minute", lines = [
      for what in ["letters", "retries", "failures"] :
      [local.worker_namespace, local.producer_metric[what], "Queue", local.queue_name, { stat = "Sum", label = what }]
    ] },
  ]
}

resource "aws_cloudwatch_dashboard" "sluice" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for place, widget in local.widgets : {
      type   = "metric"
      x      = place % 3 * 8
      y      = floor(place / 3) * 6
      width  = 8
      height = 6
      properties = {
        title   = widget.title
        region  = local.region
        view    = "timeSeries"
        period  = 60
        metrics = widget.lines
      }
    }]
  })
}
