# The tables are yours: they are looked up by name, and nothing here changes them.

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

data "aws_dynamodb_table" "followed" {
  for_each = var.tables

  name = coalesce(each.value.name, each.key)

  lifecycle {
    postcondition {
      condition     = self.stream_enabled
      error_message = "The table ${self.name} has no stream. Set stream_enabled = true and stream_view_type = \"${local.least_view}\" on it."
    }
    postcondition {
      condition     = !self.stream_enabled || contains(local.views, self.stream_view_type)
      error_message = "The stream of the table ${self.name} carries ${coalesce(self.stream_view_type, "nothing")}, which is not enough to index from. Set stream_view_type = \"${local.least_view}\" on it (DynamoDB makes a new stream; see docs/upgrades.md)."
    }
  }
}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  region    = data.aws_region.here.name
  arn       = "arn:${local.partition}:%s:${local.region}:${local.account}:%s"
  tags      = merge(var.tags, { sluice = var.name, sluice-version = local.version })

  views      = var.old_images ? ["NEW_AND_OLD_IMAGES"] : ["NEW_IMAGE", "NEW_AND_OLD_IMAGES"]
  least_view = local.views[0]

  table_arns  = sort([for t in data.aws_dynamodb_table.followed : t.arn])
  stream_arns = sort([for t in data.aws_dynamodb_table.followed : t.stream_arn])
  # Tables under a key of the account's own: whoever reads them or their streams needs that key.
  table_keys = sort(distinct(compact(flatten([
    for t in data.aws_dynamodb_table.followed : [for s in t.server_side_encryption : s.kms_key_arn]
  ]))))
}
