"""The other files of a starting project: Terraform root, image, environment, README. Pure."""

import posixpath
import re
from collections.abc import Mapping
from string import Template
from typing import Final

PLACEHOLDER: Final = "git::https://YOUR-GIT-HOST/sluice.git//infra?ref=v0.1.0"
"""Where there is no checkout to point at. The reader names the host."""
CLONE: Final = "/PATH/OF/A/CLONE/OF/SLUICE"
"""The same for what is done in a clone."""


def write_terraform(table: str, module: str, source: str) -> str:
    """A Terraform root that puts Sluice behind an existing table."""
    label = re.sub(r"[^a-z0-9-]+", "-", table.lower()).strip("-") or "table"
    return Template(_TERRAFORM).substitute(
        table=table, label=label, module=module, source=source.replace("\\", "/")
    )


def write_dockerfile(module: str) -> str:
    """The worker's image with the table in it, where `tables_modules` finds it."""
    return Template(_DOCKERFILE).substitute(module=module)


def write_environment(module: str, region: str) -> str:
    """What `sluice` needs on the owner's machine before anything is deployed."""
    return Template(_ENVIRONMENT).substitute(module=module, region=region or "eu-west-1")


def write_readme(
    table: str, module: str, key: Mapping[str, str], source: str, *, stream_on: bool
) -> str:
    """The next commands, all of them for the project's folder.

    source: of the Terraform module, as seen from the folder infra.
    """
    known = source != PLACEHOLDER
    sluice = posixpath.normpath(f"{source}/..") if known else CLONE
    return Template(_README).substitute(
        table=table,
        module=module,
        key=",".join(f"{n}:{t}" for n, t in key.items()),
        stream="" if stream_on else Template(_STREAM).substitute(table=table),
        clone=posixpath.normpath(f"infra/{sluice}") if known else sluice,
        zip=f"{sluice}/dist/producer.zip",
    )


_TERRAFORM: Final = """\
# Sluice behind the table $table, which is there already.

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
  description = "Tag of the worker's image that ../Dockerfile makes."
  type        = string
}

variable "producer_zip" {
  description = "Path of the zip that `make package` writes in a clone of Sluice."
  type        = string
}

module "sluice" {
  source = "$source"

  tables         = { "$label" = { name = "$table" } }
  tables_modules = "$module"
  producer_zip   = var.producer_zip
  image          = var.image
  elasticsearch  = { secret = var.secret }
  network        = { vpc_id = var.vpc_id, subnet_ids = var.subnet_ids }
}

output "repository_url" {
  description = "Where the worker's image is pushed to."
  value       = module.sluice.repository_url
}

output "sluice_env" {
  description = "What `sluice` needs to know; README.md says how."
  value       = module.sluice.sluice_env
}

output "most_bulks" {
  description = "The most bulk requests that the cluster has in work at once."
  value       = module.sluice.most_bulks
}

output "operator_role_arn" {
  description = "Role for whoever runs `sluice`."
  value       = module.sluice.operator_role_arn
}
"""

_DOCKERFILE: Final = """\
# The image of Sluice's own Dockerfile, by its tag; README.md says how both are made.
ARG BASE
FROM $${BASE}
COPY --chown=0:0 $module.py /app/
"""

_ENVIRONMENT: Final = """\
# For work on this machine; after a deploy, sluice.env has the whole (README.md).
# . ./local.env
export SLUICE_TABLES=$module
export AWS_REGION=$region

# A cluster to check against. Without it, `sluice check` uses the embedded engine, which
# accepts more than Elasticsearch does.
# export SLUICE_ELASTICSEARCH_URL=https://...
# export SLUICE_ELASTICSEARCH_API_KEY=...
"""

_STREAM: Final = """\
- Switch the table's stream on:

      aws dynamodb update-table --table-name $table \\
        --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE

"""

_README: Final = """\
# $table, searchable

Begun by `sluice init`; every file is yours to change.

| file | what it is |
| --- | --- |
| `$module.py` | the table: model and mapping, guessed from a sample. Each guess says why |
| `test_$module.py` | what becomes of an item; run it with `pytest` |
| `local.env` | the environment for work on this machine |
| `infra/main.tf` | the deployment; where Sluice's module lies stands in `source` |
| `Dockerfile` | the worker's image, with `$module.py` in it |

## Next

Every command is for this folder.

- Read `$module.py`, correct what was guessed wrongly, and run the test:

      pytest

- Check it against real items:

      . ./local.env
      sluice check $table --items 500

  Where AWS is out of reach: `sluice check $table --file items.json --key $key`.

$stream- Deploy it. First the function's zip, then the repository, then the images, Sluice's own and
  yours on top of it, then the rest. Terraform asks for the variables of `infra/main.tf`, or takes
  them from `infra/terraform.tfvars`: `image` is "1.0.0", `producer_zip` is "$zip".
  Sluice's docs/deploy.md says more, and docs/image.md of the images.

      make -C $clone setup package
      terraform -chdir=infra init
      terraform -chdir=infra apply -target=module.sluice.aws_ecr_repository.worker

      repository=$$(terraform -chdir=infra output -raw repository_url)
      aws ecr get-login-password |
        docker login --username AWS --password-stdin "$${repository%%/*}"
      docker buildx build --platform linux/arm64 -t "$$repository:base-1" --push $clone
      docker buildx build --platform linux/arm64 -t "$$repository:1.0.0" --push \\
        --build-arg BASE="$$repository:base-1" .

      terraform -chdir=infra apply

- Index what the table holds already:

      terraform -chdir=infra output -raw sluice_env > sluice.env
      . ./sluice.env
      sluice backfill $table
      sluice status
"""
