# What the mocked provider answers where a random string would not do: JSON, ARNs, URLs.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}
mock_data "aws_partition" {
  defaults = { partition = "aws" }
}
mock_data "aws_region" {
  defaults = { name = "us-east-1" }
}
mock_data "aws_iam_policy_document" {
  defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
}
mock_data "aws_dynamodb_table" {
  defaults = {
    arn                    = "arn:aws:dynamodb:us-east-1:123456789012:table/posts"
    stream_arn             = "arn:aws:dynamodb:us-east-1:123456789012:table/posts/stream/2026-01-01T00:00:00.000"
    stream_enabled         = true
    stream_view_type       = "NEW_AND_OLD_IMAGES"
    server_side_encryption = []
  }
}
mock_data "aws_secretsmanager_secret" {
  defaults = {
    arn        = "arn:aws:secretsmanager:us-east-1:123456789012:secret:search-AbCdEf"
    kms_key_id = ""
  }
}
mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
}
mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
}
mock_resource "aws_iam_policy" {
  defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
}
mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:us-east-1:123456789012:mock"
    id  = "https://sqs.us-east-1.amazonaws.com/123456789012/mock"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/mock"
  }
}
mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mock" }
}
mock_resource "aws_lambda_function" {
  defaults = { arn = "arn:aws:lambda:us-east-1:123456789012:function:mock" }
}
mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:mock" }
}
mock_resource "aws_ecr_repository" {
  defaults = { repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/sluice-worker" }
}
mock_resource "aws_ecs_cluster" {
  defaults = { id = "arn:aws:ecs:us-east-1:123456789012:cluster/mock" }
}
mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/mock:1" }
}
mock_resource "aws_appautoscaling_policy" {
  defaults = { arn = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:00000000-0000-0000-0000-000000000000:resource/ecs/service/mock/mock:policyName/mock" }
}
mock_resource "aws_scheduler_schedule" {
  defaults = { arn = "arn:aws:scheduler:us-east-1:123456789012:schedule/default/mock" }
}
mock_data "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/3" }
}
