variable "edge_url" {
  description = "URL of the Worker."
  type        = string
}

variable "pools" {
  description = "Pool id → where it is. `create_autoscaling_role` is true in exactly one pool of an account that never had a scaling group."
  type = map(object({
    aws_region              = string
    create_autoscaling_role = optional(bool, false)
    gate_hostnames          = list(string)
    hint                    = string
    peak_replicas           = number
    position                = object({ latitude = number, longitude = number })
    region                  = string
    schedules               = optional(map(object({ recurrence = string, time_zone = optional(string, "Etc/UTC"), min_replicas = number })), {})
    zones                   = list(string)
  }))

  validation {
    # A pool in a region without a module call would silently not exist.
    condition     = alltrue([for pool in values(var.pools) : contains(["us-east-1", "eu-west-1", "ap-northeast-1"], pool.aws_region)])
    error_message = "Every pool lies in an AWS region that main.tf has a call for."
  }

  validation {
    condition     = length([for pool in values(var.pools) : pool if pool.create_autoscaling_role]) <= 1
    error_message = "At most one pool creates the account's role of Auto Scaling."
  }
}

variable "weights" {
  description = "Revision of the weights, their prefix in each pool's bucket, the SHA-256 of their SHA256SUMS file, their size."
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
