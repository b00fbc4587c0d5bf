# How many replicas, on what, and when.

variable "capacity" {
  description = <<-EOT
    How many replicas there are.
      peak_replicas   N: what the stated peak needs with every replica working at scaling.busy_share
      headroom        the +2 of N+2: one replica may fail while another is being replaced or is still loading
                      weights, and the peak is served all the same. Cloud capacity for GPUs is not certain, so
                      this is bought in advance, not at need. 0 means: a failure at peak is a failure for clients.
      min_replicas    floor outside the peak, headroom not counted; at most peak_replicas
      extra_replicas  above N + headroom, for what nobody foresaw; bounds the bill
      on_demand_base  replicas that Spot can never take away
      on_demand_percent_above_base
                      share of the rest that is on demand; 0 is all Spot
      spot_strategy   how Spot capacity is chosen among the instance types
  EOT
  type = object({
    peak_replicas                = number
    headroom                     = optional(number, 2)
    min_replicas                 = optional(number, 1)
    extra_replicas               = optional(number, 0)
    on_demand_base               = optional(number, 1)
    on_demand_percent_above_base = optional(number, 0)
    spot_strategy                = optional(string, "price-capacity-optimized")
  })

  validation {
    condition = alltrue([
      for count in [
        var.capacity.peak_replicas - 1, var.capacity.headroom, var.capacity.min_replicas - 1,
        var.capacity.extra_replicas, var.capacity.on_demand_base, var.capacity.peak_replicas - var.capacity.min_replicas
      ] : count >= 0 && floor(count) == count
    ])
    error_message = "Replica counts are whole; peak and minimum are at least 1, and the minimum is at most the peak."
  }

  validation {
    condition     = var.capacity.peak_replicas + var.capacity.headroom + var.capacity.extra_replicas <= 32
    error_message = "One pool has at most 32 replicas (REPLICAS_PER_CELL_MAX in src/bounds.ts): add a second pool."
  }

  validation {
    # Neither the provider nor a plan knows a misspelt strategy: it would fail in the middle of an apply.
    condition     = contains(["price-capacity-optimized", "capacity-optimized", "capacity-optimized-prioritized", "lowest-price"], var.capacity.spot_strategy)
    error_message = "capacity.spot_strategy is price-capacity-optimized, capacity-optimized, capacity-optimized-prioritized or lowest-price."
  }

  validation {
    condition     = var.capacity.on_demand_percent_above_base >= 0 && var.capacity.on_demand_percent_above_base <= 100
    error_message = "capacity.on_demand_percent_above_base is 0 to 100."
  }
}

variable "instance_types" {
  description = "Instance types of the replicas, most wanted first. All have the same number of GPUs: tensor_parallel_size x pipeline_parallel_size. More types find more Spot capacity."
  type        = list(string)

  validation {
    condition     = length(var.instance_types) > 0 && alltrue([for type in var.instance_types : contains(keys(local.instance_catalogue), type)])
    error_message = "instance_types holds types of local.instance_catalogue (instances.tf) only: a misspelt one would fail in the middle of an apply."
  }

  validation {
    condition = alltrue([
      for type in var.instance_types :
      try(local.instance_catalogue[type].gpus, 0) == var.model.tensor_parallel_size * var.model.pipeline_parallel_size
    ])
    error_message = "Every instance type has exactly tensor_parallel_size x pipeline_parallel_size GPUs: fewer cannot start, more are paid for and idle."
  }

  validation {
    # A tenth for activations and CUDA graphs; what is left beyond the weights is the key-value cache.
    condition = alltrue([
      for type in var.instance_types :
      try(local.instance_catalogue[type].gpus * local.instance_catalogue[type].gpu_memory_gib, 0) * var.model.memory_share >= var.model.weights.size_gib * 1.1
    ])
    error_message = "The weights do not fit into the GPUs of every instance type at this memory_share."
  }
}

variable "paused" {
  description = "No machine runs: for the first apply, before weights and programs are in the bucket, and for a pool that nobody needs now."
  type        = bool
  default     = false
}

variable "scaling" {
  description = <<-EOT
    When replicas are added.
      busy_share              share of concurrency_per_replica that is busy at N replicas; beyond it waits grow fast
      predicted_wait_seconds  a request should wait no longer than that for its turn
      load_mib_per_second     how fast weights come from S3 and reach the GPUs; with their size it gives the warm-up
      start_seconds           boot, image pull, engine start and CUDA graphs, without the weights
      forecast                off, only (predict and show) or scale (predict and add replicas before the load comes)
  EOT
  type = object({
    busy_share             = optional(number, 0.7)
    predicted_wait_seconds = optional(number, 2)
    load_mib_per_second    = optional(number, 600)
    start_seconds          = optional(number, 420)
    forecast               = optional(string, "off")
  })
  default = {}

  validation {
    condition     = var.scaling.busy_share > 0 && var.scaling.busy_share <= 1
    error_message = "scaling.busy_share is above 0 and at most 1."
  }

  validation {
    condition     = contains(["off", "only", "scale"], var.scaling.forecast)
    error_message = "scaling.forecast is off, only or scale."
  }

  validation {
    # The launch hook's limit is two hours; a pool that loads longer could never start.
    condition     = var.scaling.load_mib_per_second >= 10 && var.scaling.start_seconds + var.model.weights.size_gib * 1024 / var.scaling.load_mib_per_second <= 6600
    error_message = "The weights take too long to load: the warm-up must stay below 6600 s."
  }
}

variable "schedules" {
  description = "Capacity by the clock, for load that is known in advance. Cron in `time_zone`; replica counts do not include headroom, which is added."
  type = map(object({
    recurrence   = string
    time_zone    = optional(string, "Etc/UTC")
    min_replicas = number
  }))
  default = {}

  validation {
    condition = alltrue([
      for schedule in values(var.schedules) :
      schedule.min_replicas >= 1 && schedule.min_replicas <= var.capacity.peak_replicas && length(split(" ", schedule.recurrence)) == 5
    ])
    error_message = "A schedule has a cron line of five fields and 1 to peak_replicas replicas."
  }
}
