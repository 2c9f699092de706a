# Once a day `sluice tombstones purge`, by a task of the worker's image that ends when it is done. A run
# that fails is not repeated before the next, which does its work too.

locals {
  purge_name  = "${var.name}-purge"
  purge_arn   = aws_ecs_task_definition.purge.arn
  cluster_arn = format(local.arn, "ecs", "cluster/${local.worker_name}")
}

# No task role: the command asks the cluster alone, and no AWS service.
resource "aws_ecs_task_definition" "purge" {
  family                   = local.purge_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 1024
  execution_role_arn       = aws_iam_role.execution.arn
  track_latest             = false
  tags                     = local.tags

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }

  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([merge(local.container, {
    name    = "purge"
    command = concat(["sluice", "tombstones", "purge"], sort([for key, table in var.tables : coalesce(table.name, key)]))
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = local.worker_log
        awslogs-region        = local.region
        awslogs-stream-prefix = "purge"
      }
    }
  })])
}

resource "aws_scheduler_schedule" "purge" {
  #checkov:skip=CKV_AWS_297:The schedule holds a task's name and subnets, no data; AWS encrypts it with its own key.
  name                = local.purge_name
  description         = "Removes tombstones older than the horizon."
  schedule_expression = var.purge.schedule
  state               = var.purge.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = local.cluster_arn
    role_arn = aws_iam_role.scheduler.arn

    ecs_parameters {
      task_definition_arn = local.purge_arn
      launch_type         = "FARGATE"
      network_configuration {
        subnets          = var.network.subnet_ids
        security_groups  = [aws_security_group.worker.id]
        assign_public_ip = var.network.assign_public_ip
      }
    }

    # Of starting the task alone, where Fargate has no room: what the task itself does is not tried again.
    retry_policy {
      maximum_retry_attempts       = 10
      maximum_event_age_in_seconds = 3600
    }
  }

  depends_on = [aws_ecs_cluster.worker, aws_iam_role_policy.scheduler, aws_iam_role_policy.execution, aws_cloudwatch_log_group.worker]
}
