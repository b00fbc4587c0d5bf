variable "access" {
  description = <<-EOT
    Who passes Cloudflare Access in front of /admin and /console, beside the service token that `npm run deploy` uses.
    The admin API still wants an admin key behind it. Without emails and email_domains no person passes.
  EOT
  type = object({
    # How long a person stays signed in.
    session_duration = optional(string, "1h")
    emails           = optional(set(string), [])
    email_domains    = optional(set(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[1-9][0-9]*(m|h)$", var.access.session_duration))
    error_message = "access.session_duration is a number of minutes or hours, as in \"30m\" or \"1h\"."
  }

  validation {
    condition     = alltrue([for email in var.access.emails : can(regex("^[^@\\s*]+@[^@\\s*]+\\.[^@\\s*]+$", email))])
    error_message = "access.emails holds whole addresses: no wildcards."
  }

  validation {
    condition     = alltrue([for domain in var.access.email_domains : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", domain))])
    error_message = "access.email_domains holds domains without '@', as in \"example.net\"."
  }

  validation {
    condition = length(setintersection(var.access.email_domains, [
      "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "icloud.com", "yahoo.com", "proton.me",
    ])) == 0
    error_message = "access.email_domains: anybody can have an address there; name the people in access.emails instead."
  }
}

variable "account_id" {
  description = "The Cloudflare account: 32 hexadecimal digits, on the right of the dashboard's overview of the zone."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.account_id))
    error_message = "account_id is 32 hexadecimal digits."
  }
}

variable "custom_domain_owner" {
  description = <<-EOT
    Who binds `hostname` to the Worker. "wrangler": `npm run deploy` does, together with the code, so that one apply is
    enough. "terraform": this configuration does; only once the Worker exists, since Cloudflare refuses a domain for a
    Worker that is not there: apply with "wrangler" or without it first.
  EOT
  type        = string
  default     = "wrangler"
  nullable    = false

  validation {
    condition     = contains(["wrangler", "terraform"], var.custom_domain_owner)
    error_message = "custom_domain_owner is \"wrangler\" or \"terraform\"."
  }
}

variable "gate_port" {
  description = "Where each gate listens on its own node's loopback, for the cloudflared beside it."
  type        = number
  default     = 9001
  nullable    = false

  validation {
    condition     = var.gate_port >= 1024 && var.gate_port <= 65535 && floor(var.gate_port) == var.gate_port
    error_message = "gate_port is a whole number from 1024 to 65535: the gate runs without privileges."
  }
}

variable "hostname" {
  description = "Where clients find the API, as in \"llm.example.net\". In the zone, and not one of the gates' names."
  type        = string

  validation {
    condition     = endswith(var.hostname, ".${var.zone_name}") || var.hostname == var.zone_name
    error_message = "hostname must be zone_name or a name under it."
  }

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", var.hostname))
    error_message = "hostname is a host name in lower case, without scheme, port or path."
  }
}

variable "kv_namespaces" {
  description = "Worker binding → title of a KV namespace that is made and bound. The Worker of this version reads none."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for binding in keys(var.kv_namespaces) : can(regex("^[A-Z][A-Z0-9_]*$", binding))])
    error_message = "kv_namespaces: a binding is upper case, as in \"CACHE\"."
  }
}

variable "log_destinations" {
  description = <<-EOT
    Name → where Logpush sends logs (a paid feature). `workers_trace_events` are the Worker's own log lines, and make
    `npm run deploy` switch Logpush on for it; `access_requests` and `audit_logs` say who passed Access and who changed
    the account. Buckets only, whose owner is asked by a challenge: see README.md for the two applies that takes.
  EOT
  type = map(object({
    dataset     = string
    destination = string
    # What Cloudflare wrote into the bucket to see that it is yours; null: ask for it, and make no job yet.
    ownership_challenge = optional(string)
    # 1: every line.
    sample_rate = optional(number, 1)
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for log in var.log_destinations : contains(["workers_trace_events", "access_requests", "audit_logs"], log.dataset)
    ])
    error_message = "log_destinations: dataset is workers_trace_events, access_requests or audit_logs."
  }

  validation {
    condition = alltrue([
      for log in var.log_destinations : can(regex("^(s3|gs)://[a-z0-9][a-z0-9.-]+(/[^?\\s]*)?(\\?(region|sse)=[a-zA-Z0-9-]+(&(region|sse)=[a-zA-Z0-9-]+)*)?$", log.destination))
    ])
    error_message = "log_destinations: destination is s3://bucket/path?region=… or gs://bucket/path, and holds no key: it would be in the state."
  }

  validation {
    condition     = alltrue([for log in var.log_destinations : log.sample_rate > 0 && log.sample_rate <= 1])
    error_message = "log_destinations: sample_rate is above 0, up to 1."
  }
}

variable "rate_limit" {
  description = <<-EOT
    A rate limit per client address at Cloudflare's edge, in front of the Worker and far above any tenant's own limit; null:
    none. The defaults are what the free plan allows. Owns every rule of the zone's phase http_ratelimit.
  EOT
  type = object({
    requests           = number
    period_seconds     = optional(number, 10)
    mitigation_seconds = optional(number, 10)
  })
  default = null

  validation {
    condition     = var.rate_limit == null || try(contains([10, 60, 120, 300, 600, 3600], var.rate_limit.period_seconds), false)
    error_message = "rate_limit.period_seconds is 10, 60, 120, 300, 600 or 3600 (plans below Enterprise take fewer)."
  }

  validation {
    condition     = var.rate_limit == null || try(var.rate_limit.mitigation_seconds >= 10 && var.rate_limit.mitigation_seconds <= 86400, false)
    error_message = "rate_limit.mitigation_seconds is 10 to 86400."
  }

  validation {
    condition     = var.rate_limit == null || try(var.rate_limit.requests >= 50 && floor(var.rate_limit.requests) == var.rate_limit.requests, false)
    error_message = "rate_limit.requests is a whole number of at least 50: many clients share one address."
  }
}

variable "regions" {
  description = <<-EOT
    Pool id → its tunnel: one entry for each region, or for each pool where a region has several. Each has one of its own, since Cloudflare sends a request to whichever connector of a tunnel is
    nearest. Secrets are named, never written here: `npm run deploy` puts the tunnel's token and the gates' secret into
    the two parameters of AWS Systems Manager, and the nodes read them from there.
  EOT
  type = map(object({
    aws_region = string
    # One label under the zone: the zone's own certificate covers no deeper name.
    gate_hostname          = optional(string)
    tunnel_token_parameter = optional(string)
    gate_secret_parameter  = optional(string)
    # Key, alias or ARN that encrypts the two parameters; null: the account's own key for parameters.
    kms_key_id = optional(string)
  }))
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.regions) : can(regex("^[a-z0-9][a-z0-9-]{0,40}$", name))])
    error_message = "regions: a name is 1 to 41 of a-z, 0-9 and '-', starting with a letter or digit."
  }

  validation {
    condition     = alltrue([for region in var.regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region.aws_region))])
    error_message = "regions: aws_region is as in \"eu-central-1\"."
  }

  validation {
    condition = alltrue([
      for region in var.regions : region.gate_hostname == null || can(regex(
        "^[a-z0-9]([a-z0-9-]*[a-z0-9])?\\.${replace(var.zone_name, ".", "\\.")}$", coalesce(region.gate_hostname, "-")
      ))
    ])
    error_message = "regions: gate_hostname is one label under zone_name, as in \"gate-fra.example.net\"."
  }

  validation {
    condition = length(distinct([
      for name, region in var.regions : coalesce(region.gate_hostname, "gate-${name}.${var.zone_name}")
    ])) == length(var.regions)
    error_message = "regions: two regions have the same gate_hostname; a tunnel is never shared."
  }

  validation {
    condition     = alltrue([for name, region in var.regions : coalesce(region.gate_hostname, "gate-${name}.${var.zone_name}") != var.hostname])
    error_message = "regions: a gate_hostname is the API's own hostname."
  }

  validation {
    condition = alltrue(flatten([
      for region in var.regions : [
        for parameter in [region.tunnel_token_parameter, region.gate_secret_parameter] :
        parameter == null || can(regex("^(/[A-Za-z0-9_.-]+)+$", coalesce(parameter, "-")))
      ]
    ]))
    error_message = "regions: a parameter's name is as in \"/meridian/fra/tunnel-token\". It is the name and never the secret."
  }
}

variable "service_token" {
  description = <<-EOT
    The Access service token of `npm run deploy`. To rotate: `version` one up and `previous_until` a time by which nobody
    uses the old secret any more (RFC 3339).
  EOT
  type = object({
    version        = optional(number, 1)
    previous_until = optional(string)
    duration       = optional(string, "8760h")
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["8760h", "17520h", "43800h", "87600h"], var.service_token.duration)
    error_message = "service_token.duration is 8760h (a year), 17520h, 43800h or 87600h: one that never ends is forgotten."
  }

  validation {
    condition     = var.service_token.version >= 1 && floor(var.service_token.version) == var.service_token.version
    error_message = "service_token.version is a whole number from 1 on."
  }

  validation {
    condition     = var.service_token.previous_until == null || can(timeadd(coalesce(var.service_token.previous_until, "-"), "0s"))
    error_message = "service_token.previous_until is a time as in \"2026-11-23T12:00:00Z\"."
  }
}

variable "waf" {
  description = <<-EOT
    Rules of Cloudflare's firewall. Each owns every rule of the zone's phase http_request_firewall_custom, so import what
    is there first. `gates_for_workers_only` refuses at the edge what does not come from a Worker of this zone (gates
    refuse it anyway); `known_paths_only` refuses paths that the Worker does not know, before it is billed for them.
  EOT
  type = object({
    gates_for_workers_only = optional(bool, false)
    known_paths_only       = optional(bool, false)
  })
  default  = {}
  nullable = false
}

variable "worker_name" {
  description = "The Worker's name, as in wrangler.toml."
  type        = string
  default     = "meridian"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,62}$", var.worker_name))
    error_message = "worker_name is 1 to 63 of a-z, 0-9 and '-'."
  }
}

variable "zone_id" {
  description = "The Cloudflare zone: 32 hexadecimal digits, below the account's on the same page."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.zone_id))
    error_message = "zone_id is 32 hexadecimal digits."
  }
}

variable "zone_name" {
  description = "The zone's domain, as in \"example.net\"."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", var.zone_name))
    error_message = "zone_name is a domain in lower case, without a dot at its end."
  }
}
