terraform {
  required_version = ">= 1.11.0"

  # Whoever reads the state sees every name and address: an encrypted bucket with a lock, given at `terraform init
  # -backend-config=backend.hcl` (backend.hcl.example).
  backend "s3" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100.0, < 7.0.0"
    }
  }
}
