locals {
  # Of the image: another one of ECR if `image` names it. A registry that is not ECR asks for no right of AWS.
  ecr            = try(regex("^(?P<account>[0-9]{12})[.]dkr[.]ecr[.](?P<region>[a-z0-9-]+)[.]amazonaws[.]com(?:[.]cn)?/(?P<name>[^:@]+)", var.image), null)
  repository_arn = local.ecr == null ? format(local.arn, "ecr", "repository/${local.worker_name}") : "arn:${local.partition}:ecr:${local.ecr.region}:${local.ecr.account}:repository/${local.ecr.name}"
  worker_name    = "${var.name}-worker"
  worker_log     = "/ecs/${local.worker_name}"
  scratch        = "/run/sluice"
  health_file    = "${local.scratch}/health"
  ca_file        = "${local.scratch}/ca.pem"
  # After the drain's own time the worker needs up to 5 s to give messages back.
  stop_s = var.numbers.drain_s + 15
  image  = can(regex("[/:@]", var.image)) ? var.image : "${aws_ecr_repository.worker.repository_url}:${var.image}"

  # Every variable of worker/settings.py that is no secret, and AWS_REGION.
  worker_environment = {
    AWS_REGION                     = local.region
    SLUICE_QUEUE_URL               = aws_sqs_queue.changes.url
    SLUICE_DEAD_LETTER_URL         = aws_sqs_queue.dead.url
    SLUICE_OVERFLOW_BUCKET         = aws_s3_bucket.overflow.bucket
    SLUICE_ELASTICSEARCH_TIMEOUT_S = tostring(var.worker.elasticsearch_timeout_s)
    SLUICE_ELASTICSEARCH_CA_CERTS  = var.elasticsearch.private_ca ? local.ca_file : ""
    SLUICE_TABLES                  = var.tables_modules
    SLUICE_CONCURRENCY             = tostring(var.worker.concurrency)
    SLUICE_CLOCK_MARGIN_S          = tostring(var.numbers.clock_margin_s)
    SLUICE_HORIZON_DAYS            = tostring(var.numbers.horizon_days)
    SLUICE_TASK_LIMIT_S            = tostring(var.numbers.task_limit_s)
    SLUICE_DRAIN_S                 = tostring(var.numbers.drain_s)
    SLUICE_HEALTH_FILE             = local.health_file
    SLUICE_VALVE_REFUSALS          = tostring(var.valve.refusals)
    SLUICE_VALVE_RATE              = tostring(var.valve.rate)
    SLUICE_VALVE_WINDOW_S          = tostring(var.valve.window_s)
    SLUICE_VALVE_PAUSE_S           = tostring(var.valve.pause_s)
    # What SQS moves to the dead letters itself has no reason, so the worker comes first.
    SLUICE_ATTEMPTS     = tostring(min(3, var.numbers.receives - 1))
    SLUICE_STATE_S      = "10"
    SLUICE_METRICS_PORT = "0"
    SLUICE_METRICS_HOST = "127.0.0.1"
    SLUICE_LOG_LEVEL    = var.worker.log_level
    SLUICE_LOG_SAMPLE   = tostring(var.worker.log_sample)
  }

  # Read from the secret by ECS as a task starts: no secret is in the state or in the plan.
  worker_secrets = merge(
    {
      SLUICE_ELASTICSEARCH_URL     = "${local.secret_arn}:url::"
      SLUICE_ELASTICSEARCH_API_KEY = "${local.secret_arn}:api_key::"
    },
    # The image's start writes it to SLUICE_ELASTICSEARCH_CA_CERTS: see docs/image.md.
    var.elasticsearch.private_ca ? { ELASTICSEARCH_CA_PEM = "${local.secret_arn}:ca::" } : {},
  )

  # What every container of the image is told and held to, the daily purge's too: nothing that it keeps by, its horizon
  # above all, can differ from the worker's.
  container = {
    image                  = local.image
    essential              = true
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    environment            = [for name in sort(keys(local.worker_environment)) : { name = name, value = local.worker_environment[name] }]
    secrets                = [for name in sort(keys(local.worker_secrets)) : { name = name, valueFrom = local.worker_secrets[name] }]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = local.scratch, readOnly = false }]
    portMappings           = []
    volumesFrom            = []
    systemControls         = []
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
  }
}

resource "aws_ecr_repository" "worker" {
  #checkov:skip=CKV_AWS_136:An image holds code, no data and no secret; ECR encrypts it with its own key.
  name                 = local.worker_name
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.force_destroy
  tags                 = local.tags

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "worker" {
  repository = aws_ecr_repository.worker.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the last 20: enough to go back"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_cloudwatch_log_group" "worker" {
  #checkov:skip=CKV_AWS_338:Logs tell of failures, they are no archive; numbers.log_days says how long.
  name              = local.worker_log
  retention_in_days = var.numbers.log_days
  kms_key_id        = aws_kms_key.data.arn
  tags              = local.tags
}

resource "aws_security_group" "worker" {
  name        = local.worker_name
  description = "The workers of ${var.name}: nothing comes in."
  vpc_id      = var.network.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "worker" {
  for_each = toset([for port in distinct([443, var.network.elasticsearch_port]) : tostring(port)])

  security_group_id = aws_security_group.worker.id
  description       = each.key == "443" ? "AWS, and the cluster if it listens here" : "The cluster"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
}

resource "aws_ecs_cluster" "worker" {
  name = local.worker_name
  tags = local.tags

  # Gives RunningTaskCount, by which backlog is divided.
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "worker" {
  family                   = local.worker_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.worker.cpu
  memory                   = var.worker.memory_mb
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.worker.arn
  track_latest             = false
  tags                     = local.tags

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }

  # The root is read-only; this is ephemeral storage of the task, owned by the image's user.
  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([merge(local.container, {
    name        = "worker"
    stopTimeout = local.stop_s
    healthCheck = {
      command     = ["CMD", "python", "-m", "worker", "health"]
      interval    = 30
      timeout     = 10
      retries     = 3
      startPeriod = 120
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = local.worker_log
        awslogs-region        = local.region
        awslogs-stream-prefix = "worker"
        mode                  = "non-blocking" # a slow log must not hold up the worker
        max-buffer-size       = "4m"
      }
    }
  })])
}

resource "aws_ecs_service" "worker" {
  name                   = local.worker_name
  cluster                = aws_ecs_cluster.worker.id
  task_definition        = aws_ecs_task_definition.worker.arn
  launch_type            = "FARGATE"
  platform_version       = "LATEST"
  desired_count          = var.worker.min_tasks
  enable_execute_command = false
  propagate_tags         = "SERVICE"
  tags                   = local.tags

  # A deployment stops tasks before it starts others, so no more than max_tasks take messages. ECS counts
  # tasks that run or are pending, and not those that drain: these may overlap with new ones.
  deployment_maximum_percent         = 100
  deployment_minimum_healthy_percent = 0
  availability_zone_rebalancing      = "DISABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.network.subnet_ids
    security_groups  = [aws_security_group.worker.id]
    assign_public_ip = var.network.assign_public_ip
  }

  lifecycle {
    ignore_changes = [desired_count] # the scaling's from here on
  }

  depends_on = [aws_iam_role_policy.worker, aws_iam_role_policy.execution, aws_cloudwatch_log_group.worker]
}

# ---------------------------------------------------------------- scaling

resource "aws_appautoscaling_target" "worker" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.worker.name}/${aws_ecs_service.worker.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.worker.min_tasks
  max_capacity       = var.worker.max_tasks
  tags               = local.tags
}

locals {
  # Messages waiting and in work, for each task. In work counts too: a pool that has taken all of
  # a queue is busy, and scaling on what waits alone would stop its tasks with work in hand.
  # A figure that comes late stands as it last was: filled with 0, the newest minute would always
  # read as no work, and nothing would ever be added (CloudWatch User Guide, "Using math expressions with CloudWatch
  # metrics", of FILL in an alarm). One that never came counts as 0 in a sum (the same page). Target tracking takes every
  # function of that page (Application Auto Scaling User Guide, "Create a target tracking scaling policy using metric math").
  messages = "(FILL(waiting, REPEAT) + FILL(working, REPEAT))"
  backlog  = "${local.messages} / IF(tasks < 1, 1, tasks)"

  # What each would have with one task less: a task goes when that leaves room to spare. Backlog alone would not
  # tell, for a pool that is just large enough has none, and would grow and shrink for ever.
  idle_share    = 0.7
  idle_period_s = 300
  left          = "IF(tasks > ${var.worker.min_tasks}, ${local.messages} / IF(tasks < 2, 1, tasks - 1), ${2 * var.worker.concurrency})"
  backlog_metrics = {
    waiting = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", stat = "Maximum", dimensions = { QueueName = local.queue_name } }
    working = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesNotVisible", stat = "Maximum", dimensions = { QueueName = local.queue_name } }
    tasks   = { namespace = "ECS/ContainerInsights", name = "RunningTaskCount", stat = "Average", dimensions = { ClusterName = local.worker_name, ServiceName = local.worker_name } }
  }
}

resource "aws_appautoscaling_policy" "backlog" {
  name               = "${local.worker_name}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.worker.service_namespace
  resource_id        = aws_appautoscaling_target.worker.resource_id
  scalable_dimension = aws_appautoscaling_target.worker.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.worker.backlog_per_task
    scale_out_cooldown = 60
    disable_scale_in   = true # the policy "idle" does it

    customized_metric_specification {
      dynamic "metrics" {
        for_each = local.backlog_metrics
        content {
          id          = metrics.key
          return_data = false
          metric_stat {
            stat = metrics.value.stat
            metric {
              namespace   = metrics.value.namespace
              metric_name = metrics.value.name
              dynamic "dimensions" {
                for_each = metrics.value.dimensions
                content {
                  name  = dimensions.key
                  value = dimensions.value
                }
              }
            }
          }
        }
      }
      metrics {
        id          = "backlog"
        label       = "Messages for each task"
        expression  = local.backlog
        return_data = true
      }
    }
  }
}

# Target tracking waits for three bad minutes in a row; a burst is answered after one.
resource "aws_appautoscaling_policy" "burst" {
  name               = "${local.worker_name}-burst"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.worker.service_namespace
  resource_id        = aws_appautoscaling_target.worker.resource_id
  scalable_dimension = aws_appautoscaling_target.worker.scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type          = "PercentChangeInCapacity"
    metric_aggregation_type  = "Maximum"
    min_adjustment_magnitude = 1
    cooldown                 = 60

    step_adjustment {
      metric_interval_lower_bound = 0
      metric_interval_upper_bound = 4 * var.worker.burst_factor * var.worker.backlog_per_task
      scaling_adjustment          = 100
    }
    step_adjustment {
      metric_interval_lower_bound = 4 * var.worker.burst_factor * var.worker.backlog_per_task
      scaling_adjustment          = 400
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "burst" {
  alarm_name          = "${local.worker_name}-burst"
  alarm_description   = "Adds workers at once. Not for people: nothing is to be done."
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.worker.burst_factor * var.worker.backlog_per_task
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.burst.arn]
  tags                = local.tags

  metric_query {
    id          = "backlog"
    label       = "Messages for each task"
    expression  = local.backlog
    return_data = true
  }
  dynamic "metric_query" {
    for_each = local.backlog_metrics
    content {
      id = metric_query.key
      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        stat        = metric_query.value.stat
        period      = 60
        dimensions  = metric_query.value.dimensions
      }
    }
  }
}

# One task at a time, after a quarter of an hour in which the others could have done its work beside theirs.
resource "aws_appautoscaling_policy" "idle" {
  name               = "${local.worker_name}-idle"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.worker.service_namespace
  resource_id        = aws_appautoscaling_target.worker.resource_id
  scalable_dimension = aws_appautoscaling_target.worker.scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Average"
    cooldown                = 900

    step_adjustment {
      metric_interval_upper_bound = 0
      scaling_adjustment          = -1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "idle" {
  alarm_name          = "${local.worker_name}-idle"
  alarm_description   = "Takes away a worker that the others can do without. Not for people: nothing is to be done."
  comparison_operator = "LessThanOrEqualToThreshold"
  threshold           = local.idle_share * var.worker.concurrency
  evaluation_periods  = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.idle.arn]
  tags                = local.tags

  metric_query {
    id          = "left"
    label       = "Messages for each task, with one task less"
    expression  = local.left
    return_data = true
  }
  dynamic "metric_query" {
    for_each = local.backlog_metrics
    content {
      id = metric_query.key
      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        stat        = "Average"
        period      = local.idle_period_s
        dimensions  = metric_query.value.dimensions
      }
    }
  }
}
