terraform {
  # 1.11: tests may override resources during a plan.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}

locals {
  version = "0.1.0" # of producer, worker and module: pyproject.toml's
}
