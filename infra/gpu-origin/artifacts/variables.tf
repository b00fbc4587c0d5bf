variable "create_autoscaling_role" {
  description = "Makes the account's service-linked role of Auto Scaling."
  type        = bool
}

variable "name" {
  description = "Prefix of all names."
  type        = string
}
