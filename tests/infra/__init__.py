"""The Terraform module and the image."""
