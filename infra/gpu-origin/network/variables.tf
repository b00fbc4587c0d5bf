variable "cidr" {
  description = "Address range of the network, /16 to /20."
  type        = string

  validation {
    condition     = can(regex("/(1[6-9]|20)$", var.cidr)) && can(cidrhost(var.cidr, 0))
    error_message = "cidr is a range of /16 to /20."
  }
}

variable "kms_key_arn" {
  description = "Key of the flow log."
  type        = string
}

variable "log_retention_days" {
  description = "How long the flow log is kept."
  type        = number
}

variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "nat_per_zone" {
  description = "One NAT gateway in each zone instead of one for all."
  type        = bool
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the flow log's role."
  type        = string
  default     = null
}

variable "private_endpoints" {
  description = "Interface endpoints for all AWS services that replicas use, and no route to the internet for them."
  type        = bool
}

variable "zones" {
  description = "Availability zones, two or more."
  type        = list(string)
}
