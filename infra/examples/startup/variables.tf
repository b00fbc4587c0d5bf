variable "aws_region" {
  description = "Region of AWS that offers the instance types (check quotas for GPU instances first)."
  type        = string
  default     = "us-east-1"
}

variable "create_autoscaling_role" {
  description = "True in an account that never had a scaling group."
  type        = bool
  default     = true
}

variable "edge_url" {
  description = "URL of the Worker."
  type        = string
}

variable "gate_hostnames" {
  description = "Host names of the region's tunnel: output of infra/edge."
  type        = list(string)
}

variable "region" {
  description = "The region as Meridian knows it."
  type        = object({ name = string, hint = string, position = object({ latitude = number, longitude = number }) })
  default     = { name = "us-east", hint = "enam", position = { latitude = 38.9, longitude = -77.4 } }
}

variable "weights" {
  description = "Revision of the weights, their prefix in the bucket, the SHA-256 of their SHA256SUMS file, their size."
  type        = object({ revision = string, prefix = string, manifest_sha256 = string, size_gib = number })
}

variable "gate" {
  description = "The gates' programs in the artefact bucket, with their checksums."
  type = object({
    bundle      = object({ key = string, sha256 = string })
    node        = object({ key = string, sha256 = string })
    cloudflared = object({ key = string, sha256 = string })
  })
}

variable "images" {
  description = "Images in this account's ECR, by digest."
  type = object({
    vllm = object({ repository = string, digest = string })
    dcgm = object({ repository = string, digest = string })
  })
}

variable "oncall_emails" {
  description = "Who hears of alarms and of the budget."
  type        = list(string)
}

variable "paused" {
  description = "True for the first apply: the bucket must hold weights and programs before a machine starts."
  type        = bool
  default     = true
}
