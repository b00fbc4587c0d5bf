# What runs beside the model, and who is told what.

variable "ami_ids" {
  description = "Pins of the machine images. Null takes the newest from AWS's public parameter at each apply, which replaces machines whenever AWS publishes: pin in production."
  type        = object({ gate = optional(string), replica = optional(string) })
  default     = {}

  validation {
    condition = alltrue([
      for id in [var.ami_ids.gate, var.ami_ids.replica] : id == null ? true : can(regex("^ami-[0-9a-f]{8,17}$", id))
    ])
    error_message = "An AMI id is like ami-0123456789abcdef0."
  }
}

variable "alarms" {
  description = "Who is told (emails confirm once), and from when on. Waits are predicted waits of a new request."
  type = object({
    emails       = optional(list(string), [])
    topic_arns   = optional(list(string), [])
    wait_seconds = optional(number, 10)
  })
  default = {}
}

variable "budget" {
  description = "Monthly budget of the pool in US dollars, by its cost allocation tag, and who hears of 80 % spent, 100 % spent and 100 % forecast. Null: none."
  type        = object({ limit_usd = number, emails = list(string) })
  default     = null

  validation {
    condition     = var.budget == null ? true : var.budget.limit_usd > 0 && length(var.budget.emails) > 0
    error_message = "A budget has a limit above 0 and somebody who is told."
  }
}

variable "gate" {
  description = "The two gate nodes. Programs are objects in the artefact bucket under programs/, pinned by SHA-256; the bundle is built by `npm run build:gate`. `instance_type` is Graviton (arm64), and so are node and cloudflared."
  type = object({
    instance_type = optional(string, "c7g.large")
    drain_seconds = optional(number, 120)
    bundle        = object({ key = string, sha256 = string })
    node          = object({ key = string, sha256 = string })
    cloudflared   = object({ key = string, sha256 = string })
  })

  validation {
    condition     = contains(["t4g.small", "t4g.medium", "c7g.medium", "c7g.large", "c7g.xlarge", "c7g.2xlarge", "c8g.large", "c8g.xlarge"], var.gate.instance_type)
    error_message = "gate.instance_type is one of the Graviton types listed in variables-operations.tf."
  }

  validation {
    condition = alltrue([
      for program in [var.gate.bundle, var.gate.node, var.gate.cloudflared] :
      can(regex("^[0-9a-f]{64}$", program.sha256)) && can(regex("^programs/[A-Za-z0-9._-]+$", program.key))
    ])
    error_message = "A program is a key programs/<file> and a SHA-256 of 64 hexadecimal digits."
  }

  validation {
    # cloudflared ends what is left after three minutes, whatever it is told.
    condition     = var.gate.drain_seconds >= 10 && var.gate.drain_seconds <= 180
    error_message = "gate.drain_seconds is 10 to 180: cloudflared waits for three minutes at most."
  }
}

variable "create_autoscaling_role" {
  description = "Makes the account's service-linked role of Auto Scaling, without which replica disks cannot be encrypted with the pool's key. True in exactly one pool of an account that never had a scaling group."
  type        = bool
  default     = false
}

variable "log_retention_days" {
  description = "How long logs are kept. They hold ids, counts and durations, never a text."
  type        = number
  default     = 30

  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "log_retention_days is one of 7, 14, 30, 60, 90, 180, 365, 400, 731."
  }
}

variable "parameter_key_arns" {
  description = "KMS keys that the two parameters are encrypted with, when it is neither the pool's own nor the account's default key for parameters."
  type        = list(string)
  default     = []
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles, where the account demands one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything, besides meridian:pool."
  type        = map(string)
  default     = {}
}
