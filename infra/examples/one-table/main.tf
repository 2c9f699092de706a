# One table, made here, and Sluice behind it. `terraform apply -target=module.sluice.aws_ecr_repository.worker`
# makes the repository to push the image to; then apply the rest. See docs/deploy.md.

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
  description = "Secrets Manager secret with the cluster's `url` and `api_key`."
  type        = string
}

variable "image" {
  description = "Tag of the worker's image."
  type        = string
}

variable "producer_zip" {
  description = "What `make package` wrote."
  type        = string
  default     = "../../../dist/producer.zip"
}

resource "aws_dynamodb_table" "posts" {
  #checkov:skip=CKV_AWS_28:An example; point-in-time recovery is the owner's choice.
  #checkov:skip=CKV_AWS_119:An example; a key of one's own is the owner's choice, and the module copes with it.
  #checkov:skip=CKV2_AWS_16:An example; it is billed per request.
  name             = "posts"
  billing_mode     = "PAY_PER_REQUEST"
  hash_key         = "id"
  stream_enabled   = true
  stream_view_type = "NEW_IMAGE"

  attribute {
    name = "id"
    type = "S"
  }
}

module "sluice" {
  source = "../.."

  # `id` and not `name`: known only once the table is there, so it is looked up only then.
  tables         = { posts = { name = aws_dynamodb_table.posts.id } }
  tables_modules = "examples.posts.tables"
  producer_zip   = var.producer_zip
  image          = var.image
  elasticsearch  = { secret = var.secret }
  network        = { vpc_id = var.vpc_id, subnet_ids = var.subnet_ids }
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
