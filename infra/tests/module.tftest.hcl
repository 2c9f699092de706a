# What the module makes, with a mocked provider.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  # Any file will do where nothing is uploaded.
  producer_zip   = "package.py"
  tables         = { posts = {} }
  tables_modules = "examples.posts.tables"
  image          = "1"
  elasticsearch  = { secret = "search" }
  network        = { vpc_id = "vpc-1", subnet_ids = ["subnet-1"] }
}

run "defaults_are_planned" {
  command = plan

  assert {
    condition     = output.most_bulks == 16
    error_message = "the most bulks must be max_tasks * concurrency"
  }
  assert {
    condition     = aws_sqs_queue.changes.tags == tomap({ sluice = "sluice", sluice-version = output.version })
    error_message = "what is deployed must say its version"
  }
  assert {
    condition     = aws_sqs_queue.changes.visibility_timeout_seconds > var.numbers.task_limit_s
    error_message = "a message must stay hidden for longer than a task may take"
  }
  assert {
    condition     = aws_sqs_queue.dead.message_retention_seconds > aws_sqs_queue.changes.message_retention_seconds
    error_message = "dead letters must live longer than messages"
  }
  assert {
    condition     = alltrue([for b in aws_s3_bucket_public_access_block.closed : b.block_public_acls && b.block_public_policy && b.ignore_public_acls && b.restrict_public_buckets]) && length(aws_s3_bucket_public_access_block.closed) == 2
    error_message = "both buckets must be closed"
  }
  assert {
    condition     = aws_lambda_function.producer.architectures == tolist(["arm64"]) && aws_lambda_function.producer.handler == "producer.handler.handler"
    error_message = "the function must be the producer's handler, on arm64"
  }
  assert {
    condition     = aws_ecs_service.worker.deployment_maximum_percent == 100
    error_message = "a deployment must not run more than max_tasks"
  }
  assert {
    condition     = aws_ecs_service.worker.deployment_circuit_breaker[0].enable && aws_ecs_service.worker.deployment_circuit_breaker[0].rollback
    error_message = "a deployment that fails must be rolled back"
  }
  assert {
    condition     = contains(keys(aws_cloudwatch_metric_alarm.plain), "valve-shut") && contains(keys(aws_cloudwatch_metric_alarm.plain), "lag-p99")
    error_message = "the worker's own metrics must be watched"
  }
}

run "scaling_follows_messages_waiting_and_in_work" {
  command = plan

  variables {
    worker = { min_tasks = 2 }
  }

  assert {
    condition     = one([for m in one(one(aws_appautoscaling_policy.backlog.target_tracking_scaling_policy_configuration).customized_metric_specification).metrics : "${m.id}: ${m.expression}" if m.return_data]) == "backlog: (FILL(waiting, REPEAT) + FILL(working, REPEAT)) / IF(tasks < 1, 1, tasks)"
    error_message = "the backlog must have a value also where one of the queue's figures is late or absent"
  }
  assert {
    condition     = one([for q in aws_cloudwatch_metric_alarm.burst.metric_query : "${q.id}: ${q.expression}" if q.return_data == true]) == "backlog: (FILL(waiting, REPEAT) + FILL(working, REPEAT)) / IF(tasks < 1, 1, tasks)"
    error_message = "a burst must be seen in the same figure"
  }
  assert {
    condition     = one([for q in aws_cloudwatch_metric_alarm.idle.metric_query : "${q.id}: ${q.expression}" if q.return_data == true]) == "left: IF(tasks > 2, (FILL(waiting, REPEAT) + FILL(working, REPEAT)) / IF(tasks < 2, 1, tasks - 1), 8)"
    error_message = "a task may go only where the others can do its work, and never one of the least number"
  }
  assert {
    condition = { for m in one(one(aws_appautoscaling_policy.backlog.target_tracking_scaling_policy_configuration).customized_metric_specification).metrics :
      m.id => "${one(one(m.metric_stat).metric).namespace} ${one(one(m.metric_stat).metric).metric_name} ${one(m.metric_stat).stat} ${join(", ", sort([for d in one(one(m.metric_stat).metric).dimensions : "${d.name}=${d.value}"]))}" if !m.return_data } == {
      waiting = "AWS/SQS ApproximateNumberOfMessagesVisible Maximum QueueName=sluice-changes"
      working = "AWS/SQS ApproximateNumberOfMessagesNotVisible Maximum QueueName=sluice-changes"
      tasks   = "ECS/ContainerInsights RunningTaskCount Average ClusterName=sluice-worker, ServiceName=sluice-worker"
    }
    error_message = "target tracking must read the figures of this queue and this service"
  }
  assert {
    condition = { for q in aws_cloudwatch_metric_alarm.burst.metric_query :
      q.id => "${one(q.metric).namespace} ${one(q.metric).metric_name} ${one(q.metric).stat} ${one(q.metric).period} ${join(", ", [for name, value in one(q.metric).dimensions : "${name}=${value}"])}" if q.expression == null || q.expression == "" } == {
      waiting = "AWS/SQS ApproximateNumberOfMessagesVisible Maximum 60 QueueName=sluice-changes"
      working = "AWS/SQS ApproximateNumberOfMessagesNotVisible Maximum 60 QueueName=sluice-changes"
      tasks   = "ECS/ContainerInsights RunningTaskCount Average 60 ClusterName=sluice-worker, ServiceName=sluice-worker"
    }
    error_message = "a burst must be seen in the figures of this queue and this service"
  }
  assert {
    condition = { for q in aws_cloudwatch_metric_alarm.idle.metric_query :
      q.id => "${one(q.metric).namespace} ${one(q.metric).metric_name} ${one(q.metric).stat} ${one(q.metric).period} ${join(", ", [for name, value in one(q.metric).dimensions : "${name}=${value}"])}" if q.expression == null || q.expression == "" } == {
      waiting = "AWS/SQS ApproximateNumberOfMessagesVisible Average 300 QueueName=sluice-changes"
      working = "AWS/SQS ApproximateNumberOfMessagesNotVisible Average 300 QueueName=sluice-changes"
      tasks   = "ECS/ContainerInsights RunningTaskCount Average 300 ClusterName=sluice-worker, ServiceName=sluice-worker"
    }
    error_message = "idleness must be seen in the figures of this queue and this service"
  }
  assert {
    condition     = one(aws_appautoscaling_policy.backlog.target_tracking_scaling_policy_configuration).disable_scale_in && one(one(aws_appautoscaling_policy.idle.step_scaling_policy_configuration).step_adjustment).scaling_adjustment == -1
    error_message = "target tracking must only add tasks, and one task at a time must go"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.idle.comparison_operator == "LessThanOrEqualToThreshold" && aws_cloudwatch_metric_alarm.idle.threshold == 0.7 * var.worker.concurrency && aws_cloudwatch_metric_alarm.idle.evaluation_periods == 3 && aws_cloudwatch_metric_alarm.idle.treat_missing_data == "notBreaching"
    error_message = "a task must go only after a quarter of an hour with room to spare"
  }
}

run "tombstones_are_purged_once_a_day" {
  command = plan

  assert {
    condition     = aws_scheduler_schedule.purge.state == "ENABLED" && aws_scheduler_schedule.purge.schedule_expression == "cron(17 3 * * ? *)"
    error_message = "the purge must run once a day unless it is told otherwise"
  }
  assert {
    condition     = endswith(aws_scheduler_schedule.purge.target[0].arn, ":cluster/${aws_ecs_cluster.worker.name}") && aws_scheduler_schedule.purge.target[0].ecs_parameters[0].launch_type == "FARGATE"
    error_message = "the purge must run on the workers' cluster"
  }
}

run "a_purge_may_be_switched_off_and_its_time_set" {
  command = plan
  variables {
    purge = { enabled = false, schedule = "rate(12 hours)" }
  }

  assert {
    condition     = aws_scheduler_schedule.purge.state == "DISABLED" && aws_scheduler_schedule.purge.schedule_expression == "rate(12 hours)"
    error_message = "the purge must obey its variable"
  }
}

run "a_mapping_cannot_lose_or_block" {
  command = plan

  assert {
    condition     = aws_lambda_event_source_mapping.table["posts"].bisect_batch_on_function_error && aws_lambda_event_source_mapping.table["posts"].function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "a mapping must bisect and take partial answers"
  }
  assert {
    condition     = aws_lambda_event_source_mapping.table["posts"].maximum_retry_attempts > 0 && aws_lambda_event_source_mapping.table["posts"].maximum_record_age_in_seconds < 86400
    error_message = "a mapping must give up before the stream forgets"
  }
}

run "everything_is_applied" {
  command = apply

  assert {
    condition     = aws_lambda_event_source_mapping.table["posts"].destination_config[0].on_failure[0].destination_arn == aws_s3_bucket.failures.arn
    error_message = "what Lambda gives up on must be kept whole, in S3"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].readonlyRootFilesystem
    error_message = "the root file system must be read-only"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].stopTimeout > var.numbers.drain_s + 10
    error_message = "a task must not be killed while it drains"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].healthCheck.command == ["CMD", "python", "-m", "worker", "health"]
    error_message = "the health check must be the worker's own"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].image == "${aws_ecr_repository.worker.repository_url}:1"
    error_message = "a tag alone must name an image of the module's repository"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.purge.container_definitions)[0].command == ["sluice", "tombstones", "purge", "posts"]
    error_message = "the purge must name each table"
  }
  assert {
    condition     = alltrue([for field in ["image", "user", "readonlyRootFilesystem", "linuxParameters", "environment", "secrets", "mountPoints"] : jsondecode(aws_ecs_task_definition.purge.container_definitions)[0][field] == jsondecode(aws_ecs_task_definition.worker.container_definitions)[0][field]])
    error_message = "the purge must be told what the worker is told, and be as shut in"
  }
  assert {
    condition     = aws_scheduler_schedule.purge.target[0].ecs_parameters[0].task_definition_arn == aws_ecs_task_definition.purge.arn
    error_message = "the schedule must run the purge"
  }
  assert {
    condition     = strcontains(output.sluice_env, "export SLUICE_QUEUE_URL='https://") && strcontains(output.sluice_env, "export SLUICE_TABLES='examples.posts.tables'")
    error_message = "sluice_env must name queue and tables"
  }
}

run "a_purge_names_tables_as_they_are_called" {
  command = apply
  variables {
    tables = { posts = {}, people = { name = "prod-people" } }
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.purge.container_definitions)[0].command == ["sluice", "tombstones", "purge", "posts", "prod-people"]
    error_message = "the purge must name each table as DynamoDB does"
  }
}

run "several_tables_with_options" {
  command = plan

  variables {
    tables = {
      posts  = { batch_size = 1000, window_s = 5, parallelization = 2, filters = ["{\"eventName\":[\"INSERT\"]}"] }
      people = { name = "prod-people", enabled = false }
    }
    worker        = { concurrency = 8, max_tasks = 3, memory_mb = 4096 }
    elasticsearch = { secret = "search", private_ca = true }
    network       = { vpc_id = "vpc-1", subnet_ids = ["subnet-1"], elasticsearch_port = 9243 }
    image         = "registry.example.com/search:2@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    alarms        = { worker_metrics = false }
  }

  assert {
    condition     = output.most_bulks == 24 && output.most_bulks_while_draining == 48
    error_message = "the most bulks must be max_tasks * concurrency, and twice that while tasks drain"
  }
  assert {
    condition     = data.aws_dynamodb_table.followed["people"].name == "prod-people" && aws_lambda_event_source_mapping.table["people"].enabled == false
    error_message = "a table may have another name than its key, and be paused"
  }
  assert {
    condition     = length(aws_lambda_event_source_mapping.table["posts"].filter_criteria[0].filter) == 1 && length(aws_lambda_event_source_mapping.table["people"].filter_criteria) == 0
    error_message = "filters are of one table"
  }
  assert {
    condition     = keys(aws_vpc_security_group_egress_rule.worker) == ["443", "9243"]
    error_message = "the cluster's port must be open to the workers"
  }
  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.plain), "valve-shut")
    error_message = "the worker's own metrics are not to be watched where that is switched off"
  }
}

run "an_image_of_another_repository_may_be_pulled_and_no_other" {
  command = plan
  variables {
    image = "210987654321.dkr.ecr.eu-west-1.amazonaws.com/team/search:2"
  }

  assert {
    condition     = local.repository_arn == "arn:aws:ecr:eu-west-1:210987654321:repository/team/search"
    error_message = "the repository of `image` must be what may be pulled from, exactly"
  }
  assert {
    condition     = length(data.aws_kms_key.secret) == 0 && length(local.secret_keys) == 0
    error_message = "a secret under the service's own key needs no right to a key"
  }
}

run "a_table_without_a_stream_is_refused" {
  command = plan
  override_data {
    target = data.aws_dynamodb_table.followed
    values = { stream_enabled = false, stream_view_type = "" }
  }
  expect_failures = [data.aws_dynamodb_table.followed]
}

run "a_stream_without_new_images_is_refused" {
  command = plan
  override_data {
    target = data.aws_dynamodb_table.followed
    values = { stream_enabled = true, stream_view_type = "KEYS_ONLY" }
  }
  expect_failures = [data.aws_dynamodb_table.followed]
}

run "old_images_need_a_stream_that_has_them" {
  command = plan
  variables {
    old_images = true
  }
  override_data {
    target = data.aws_dynamodb_table.followed
    values = { stream_enabled = true, stream_view_type = "NEW_IMAGE" }
  }
  expect_failures = [data.aws_dynamodb_table.followed]
}
