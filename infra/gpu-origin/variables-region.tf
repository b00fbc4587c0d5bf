# Where the pool is and how the rest of Meridian reaches it.

variable "edge_url" {
  description = "URL of the Worker that the gates report to, for example https://api.example.com."
  type        = string

  validation {
    condition     = can(regex("^https://[^/?#@[:space:]]+$", var.edge_url))
    error_message = "edge_url is https, scheme and host only: usage reports carry what tenants are billed."
  }
}

variable "gate_hostnames" {
  description = "Host names of the region's tunnel, as made by infra/edge."
  type        = list(string)

  validation {
    condition = length(var.gate_hostnames) > 0 && alltrue([
      for name in var.gate_hostnames : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", name))
    ])
    error_message = "gate_hostnames holds at least one host name, without a scheme."
  }
}

variable "gate_secret_parameter" {
  description = "Name of the SSM SecureString that holds the pool's secrets as JSON, version to secret. Read by the gates at boot; its value never enters Terraform."
  type        = string

  validation {
    condition     = can(regex("^/[A-Za-z0-9_./-]+$", var.gate_secret_parameter))
    error_message = "gate_secret_parameter is the name of a parameter, beginning with a slash. It is never the secret itself."
  }
}

variable "hint" {
  description = "Where the pool's Durable Objects live: the location hint nearest to the GPUs."
  type        = string

  validation {
    condition = contains(
      ["wnam", "enam", "sam", "weur", "eeur", "apac", "apac-ne", "apac-se", "oc", "afr", "me"], var.hint
    )
    error_message = "hint is a location hint that Meridian knows (LOCATION_HINTS in src/catalogue.ts)."
  }
}

variable "network" {
  description = "An existing network. Null: the module makes one. Replica subnets need routes to S3, ECR, SSM, CloudWatch and Auto Scaling; gate subnets lie in two zones and reach the internet through a NAT."
  type = object({
    vpc_id             = string
    gate_subnet_ids    = list(string)
    replica_subnet_ids = list(string)
  })
  default = null

  validation {
    condition     = var.network == null ? true : length(var.network.gate_subnet_ids) == 2
    error_message = "network.gate_subnet_ids holds exactly two subnets, in two zones: one for each gate."
  }
}

variable "new_network" {
  description = "The network that the module makes when `network` is null. `zones` are the names of two or more availability zones that offer the instance types. `private_endpoints` keeps replicas off the internet altogether, for the price of ten interface endpoints per zone; without them they leave through the NAT. `nat_per_zone` survives the loss of a zone."
  type = object({
    cidr              = optional(string, "10.40.0.0/16")
    zones             = list(string)
    private_endpoints = optional(bool, true)
    nat_per_zone      = optional(bool, true)
  })
  default = null

  validation {
    condition     = (var.network == null) != (var.new_network == null)
    error_message = "Give exactly one of network and new_network."
  }

  validation {
    condition     = var.new_network == null ? true : length(distinct(var.new_network.zones)) >= 2
    error_message = "new_network.zones names at least two zones: the gates stand in two."
  }
}

variable "pool_id" {
  description = "Id of the pool in Meridian's registry; also the name of everything in AWS."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,23}$", var.pool_id))
    error_message = "pool_id has 2 to 24 lower-case letters, digits and hyphens: role and bucket names add to it."
  }
}

variable "position" {
  description = "Where the data centre is, for ranking regions by distance."
  type        = object({ latitude = number, longitude = number })

  validation {
    condition     = abs(var.position.latitude) <= 90 && abs(var.position.longitude) <= 180
    error_message = "position is in degrees: latitude -90 to 90, longitude -180 to 180."
  }
}

variable "region" {
  description = "Meridian's name of the region, as clients see it in x-meridian-region."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,62}$", var.region))
    error_message = "region is a slug: lower-case letters, digits and hyphens."
  }
}

variable "tunnel_token_parameter" {
  description = "Name of the SSM SecureString that holds the tunnel's token. Read by the gates at boot; its value never enters Terraform."
  type        = string

  validation {
    condition     = can(regex("^/[A-Za-z0-9_./-]+$", var.tunnel_token_parameter))
    error_message = "tunnel_token_parameter is the name of a parameter, beginning with a slash. It is never the token itself."
  }
}
