# The cluster is yours. Its address, key and authority lie in a secret of yours, which is looked up
# by name: nothing here reads what is in it. docs/deploy.md gives the privileges that the key needs.

data "aws_secretsmanager_secret" "elasticsearch" {
  arn  = startswith(var.elasticsearch.secret, "arn:") ? var.elasticsearch.secret : null
  name = startswith(var.elasticsearch.secret, "arn:") ? null : var.elasticsearch.secret
}

# Secrets Manager tells the key as it was given: an ID, an alias, or an ARN of either. A policy needs the key's ARN.
data "aws_kms_key" "secret" {
  count = length(compact([data.aws_secretsmanager_secret.elasticsearch.kms_key_id])) # none where its own key is used

  key_id = data.aws_secretsmanager_secret.elasticsearch.kms_key_id
}

locals {
  secret_arn  = data.aws_secretsmanager_secret.elasticsearch.arn
  secret_keys = data.aws_kms_key.secret[*].arn
}
