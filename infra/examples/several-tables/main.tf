# Several tables that are there already, each with options of its own.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}

variable "vpc_id" {
  description = "VPC of the workers."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the workers."
  type        = list(string)
}

variable "secret" {
  description = "Secrets Manager secret with the cluster's `url`, `api_key` and `ca`."
  type        = string
}

variable "image" {
  description = "The worker's image, with your tables in it."
  type        = string
}

variable "topic_arn" {
  description = "SNS topic that is told of alarms."
  type        = string
}

variable "producer_zip" {
  description = "What `make package` wrote."
  type        = string
  default     = "../../../dist/producer.zip"
}

module "sluice" {
  source = "../.."

  name = "shop-search"
  tables = {
    products = {}
    reviews  = { batch_size = 1000, window_s = 5, parallelization = 4 }
    # Items of one kind alone, in a table that holds several. An item that changes its kind leaves no delete behind.
    people = {
      name    = "prod-single-table"
      filters = [jsonencode({ dynamodb = { Keys = { pk = { S = [{ prefix = "PERSON#" }] } } } })]
    }
  }
  tables_modules = "shop.tables"
  old_images     = true
  producer_zip   = var.producer_zip
  producer       = { memory_mb = 1024, reserved_concurrency = 50 }
  image          = var.image
  worker         = { cpu = 2048, memory_mb = 4096, concurrency = 8, min_tasks = 2, max_tasks = 6, backlog_per_task = 80 }
  elasticsearch  = { secret = var.secret, private_ca = true }
  network        = { vpc_id = var.vpc_id, subnet_ids = var.subnet_ids, elasticsearch_port = 9243 }
  alarms         = { topics = [var.topic_arn], runbook = "https://example.com/sluice/runbook" }
}

output "sluice_env" {
  description = "terraform output -raw sluice_env > sluice.env"
  value       = module.sluice.sluice_env
}

output "most_bulks" {
  description = "The most bulk requests that the cluster has in work at once."
  value       = module.sluice.most_bulks
}

output "repository_url" {
  description = "Where to push the worker's image."
  value       = module.sluice.repository_url
}

output "operator_role_arn" {
  description = "Role for whoever runs `sluice`."
  value       = module.sluice.operator_role_arn
}
