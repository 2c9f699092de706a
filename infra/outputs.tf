output "most_bulks" {
  description = "The most bulk requests that the cluster has in work from the workers that take messages: max_tasks * concurrency."
  value       = var.worker.max_tasks * var.worker.concurrency
}

output "most_bulks_while_draining" {
  description = "The same while tasks that were told to stop end their work beside new ones, in a deployment or when scaling turns round: at most twice as many, for at most numbers.drain_s."
  value       = 2 * var.worker.max_tasks * var.worker.concurrency
}

output "sluice_env" {
  description = "Everything the `sluice` command needs: terraform output -raw sluice_env > sluice.env; . ./sluice.env. The cluster's address and key are fetched as it is read, so the file itself holds no secret."
  value       = local.sluice_env
}

output "operator_role_arn" {
  description = "Role for whoever runs `sluice`."
  value       = aws_iam_role.operator.arn
}

output "operator_policy_arn" {
  description = "The operator's policy, to attach to a role of your own."
  value       = aws_iam_policy.operator.arn
}

output "worker_role_arn" {
  description = "Role of the worker's tasks, for what your own handlers need."
  value       = aws_iam_role.worker.arn
}

output "repository_url" {
  description = "Where to push the worker's image."
  value       = aws_ecr_repository.worker.repository_url
}

output "version" {
  description = "The module's version, which is the producer's and the worker's too."
  value       = local.version
}

output "queue_url" {
  description = "The queue of changes."
  value       = aws_sqs_queue.changes.url
}

output "dead_letter_url" {
  description = "The dead-letter queue."
  value       = aws_sqs_queue.dead.url
}

output "dashboard" {
  description = "Name of the dashboard in CloudWatch."
  value       = aws_cloudwatch_dashboard.sluice.dashboard_name
}

locals {
  plain_environment = {
    AWS_REGION               = local.region
    SLUICE_QUEUE_URL         = aws_sqs_queue.changes.url
    SLUICE_DEAD_LETTER_URL   = aws_sqs_queue.dead.url
    SLUICE_OVERFLOW_BUCKET   = aws_s3_bucket.overflow.bucket
    SLUICE_ON_FAILURE_BUCKET = aws_s3_bucket.failures.bucket
    # Lambda's names start so, then the mapping's id (Lambda Developer Guide, "Retain discarded records for a
    # DynamoDB event source in Lambda"); what `--keep` moved aside does not.
    SLUICE_ON_FAILURE_PREFIX       = "aws/lambda/"
    SLUICE_MESSAGE_BYTES           = tostring(var.producer.message_bytes)
    SLUICE_BATCH_BYTES             = tostring(var.producer.batch_bytes)
    SLUICE_CHUNK_BYTES             = tostring(var.producer.chunk_bytes)
    SLUICE_OLD_IMAGES              = tostring(var.old_images)
    SLUICE_TABLES                  = var.tables_modules
    SLUICE_CLOCK_MARGIN_S          = tostring(var.numbers.clock_margin_s)
    SLUICE_HORIZON_DAYS            = tostring(var.numbers.horizon_days)
    SLUICE_ELASTICSEARCH_TIMEOUT_S = tostring(var.worker.elasticsearch_timeout_s)
    SLUICE_TASK_LIMIT_S            = tostring(var.numbers.task_limit_s)
  }

  # Read by the shell, with the AWS command line, when the file is sourced.
  fetch = "aws secretsmanager get-secret-value --region ${local.region} --secret-id '${local.secret_arn}' --query SecretString --output text | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"%s\"])'"

  sluice_env = join("\n", concat(
    ["# Made by Terraform; source it: . ./sluice.env"],
    [for name in sort(keys(local.plain_environment)) : "export ${name}='${local.plain_environment[name]}'"],
    [
      "export SLUICE_ELASTICSEARCH_URL=\"$(${format(local.fetch, "url")})\"",
      "export SLUICE_ELASTICSEARCH_API_KEY=\"$(${format(local.fetch, "api_key")})\"",
    ],
    var.elasticsearch.private_ca ? [
      "export SLUICE_ELASTICSEARCH_CA_CERTS=\"$HOME/.${var.name}-ca.pem\"",
      "${format(local.fetch, "ca")} > \"$SLUICE_ELASTICSEARCH_CA_CERTS\"",
    ] : [],
    [""],
  ))
}
