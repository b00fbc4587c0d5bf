variable "budget_usd" {
  description = "Upstash stops the database when a month costs more, in US dollars."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.budget_usd >= 1 && floor(var.budget_usd) == var.budget_usd
    error_message = "budget_usd is a whole number of dollars."
  }
}

variable "name" {
  description = "The database's name; changing it replaces the database."
  type        = string
  default     = "meridian"
  nullable    = false
}

variable "primary_region" {
  description = "Where writes go; changing it replaces the database."
  type        = string

  validation {
    condition = contains([
      "us-east-1", "us-west-1", "us-west-2", "eu-central-1", "eu-west-1", "sa-east-1", "ap-southeast-1", "ap-southeast-2",
    ], var.primary_region)
    error_message = "primary_region is one of Upstash's: us-east-1, us-west-1, us-west-2, eu-central-1, eu-west-1, sa-east-1, ap-southeast-1, ap-southeast-2."
  }
}

variable "read_regions" {
  description = "Where copies for reading are kept."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = length(setsubtract(var.read_regions, [
      "us-east-1", "us-west-1", "us-west-2", "eu-central-1", "eu-west-1", "sa-east-1", "ap-southeast-1", "ap-southeast-2",
    ])) == 0
    error_message = "read_regions are Upstash's: us-east-1, us-west-1, us-west-2, eu-central-1, eu-west-1, sa-east-1, ap-southeast-1, ap-southeast-2."
  }
}

variable "upstash_api_key" {
  description = "From Upstash's console; set it as TF_VAR_upstash_api_key and write it into no file."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "upstash_email" {
  description = "The Upstash account that the key belongs to."
  type        = string
}
