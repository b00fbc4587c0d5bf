# What the replicas serve. One model and its adapters per pool: a second model is a second module call.

variable "model" {
  description = <<-EOT
    The model, as vLLM is started with it.
      name                    the name that clients send, and the model's name in Meridian's registry
      revision                commit of the weights; part of their path, so that two revisions never mix
      weights                 prefix in the artefact bucket, SHA-256 of its SHA256SUMS file, size in GiB
      quantisation            fp16 (as the checkpoint, 16 bit), fp8 (quantised while loading),
                              int8 or int4 (a checkpoint quantised before)
      checkpoint_format       of int8 and int4 checkpoints
      tensor_parallel_size, pipeline_parallel_size
                              their product is the number of GPUs of every instance type of the pool
      max_model_len           tokens of prompt and answer together
      memory_share            of each GPU's memory that vLLM takes at start
      max_num_seqs            sequences that run at once
      queue_limit             requests running and waiting in one replica; above it vLLM answers 503
      concurrency_per_replica what one gate sends to one replica at most, and what the registry is told
      priority_scheduling     lets Meridian's priority bands reach the engine
      drain_seconds           how long streams run on when a replica leaves; the longest request is 900 s
      tool_call_parser, reasoning_parser
                              names that vLLM knows, or null
      lora                    adapters: each is a model name of its own
  EOT
  type = object({
    name     = string
    revision = string
    weights = object({
      prefix          = string
      manifest_sha256 = string
      size_gib        = number
    })
    quantisation            = optional(string, "fp16")
    checkpoint_format       = optional(string, "compressed-tensors")
    tensor_parallel_size    = number
    pipeline_parallel_size  = optional(number, 1)
    max_model_len           = number
    memory_share            = optional(number, 0.9)
    max_num_seqs            = optional(number, 64)
    queue_limit             = optional(number, 128)
    concurrency_per_replica = number
    priority_scheduling     = optional(bool, true)
    drain_seconds           = optional(number, 900)
    tool_call_parser        = optional(string)
    reasoning_parser        = optional(string)
    lora = optional(object({
      max_rank   = optional(number, 16)
      max_loaded = optional(number, 4)
      adapters = list(object({
        name            = string
        prefix          = string
        manifest_sha256 = string
      }))
    }))
  })

  validation {
    condition = alltrue([
      for name in concat([var.model.name], try(var.model.lora.adapters[*].name, [])) :
      can(regex("^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$", name))
    ]) && !contains(try(var.model.lora.adapters[*].name, []), var.model.name)
    error_message = "Model and adapter names differ, and hold letters, digits and . _ : / - only."
  }

  validation {
    condition     = can(regex("^[0-9a-f]{7,64}$", var.model.revision))
    error_message = "model.revision is a commit: a branch or tag can change under a running pool."
  }

  validation {
    condition = alltrue([
      for digest in concat([var.model.weights.manifest_sha256], try(var.model.lora.adapters[*].manifest_sha256, [])) :
      can(regex("^[0-9a-f]{64}$", digest))
    ])
    error_message = "manifest_sha256 is 64 hexadecimal digits."
  }

  validation {
    condition = alltrue([
      for prefix in concat([var.model.weights.prefix], try(var.model.lora.adapters[*].prefix, [])) :
      can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]$", prefix)) && !strcontains(prefix, "..")
    ])
    error_message = "A weights prefix is a path in the bucket without leading or trailing slash."
  }

  validation {
    condition     = contains(["fp16", "fp8", "int8", "int4"], var.model.quantisation)
    error_message = "model.quantisation is fp16, fp8, int8 or int4."
  }

  validation {
    condition     = contains(["compressed-tensors", "awq_marlin", "gptq_marlin"], var.model.checkpoint_format)
    error_message = "model.checkpoint_format is compressed-tensors, awq_marlin or gptq_marlin."
  }

  validation {
    condition     = contains([1, 2, 4, 8], var.model.tensor_parallel_size) && contains([1, 2, 4, 8], var.model.pipeline_parallel_size)
    error_message = "Parallel sizes are 1, 2, 4 or 8: attention heads divide by them."
  }

  validation {
    condition     = var.model.memory_share >= 0.5 && var.model.memory_share <= 0.95
    error_message = "model.memory_share is 0.5 to 0.95: below there is no room for the cache, above none for CUDA graphs."
  }

  validation {
    condition     = var.model.max_model_len >= 512 && floor(var.model.max_model_len) == var.model.max_model_len
    error_message = "model.max_model_len is a whole number of tokens, 512 or more."
  }

  validation {
    condition     = var.model.queue_limit >= 2 * var.model.concurrency_per_replica
    error_message = "model.queue_limit is at least twice concurrency_per_replica: two gates may each send that many."
  }

  validation {
    condition     = var.model.concurrency_per_replica >= 1 && var.model.concurrency_per_replica <= 8192
    error_message = "model.concurrency_per_replica is 1 to 8192 (src/gate/config.ts)."
  }

  validation {
    # A lifecycle hook waits 7200 s at most, and needs some of it for the steps around the drain.
    condition     = var.model.drain_seconds >= 30 && var.model.drain_seconds <= 6900
    error_message = "model.drain_seconds is 30 to 6900: a lifecycle hook waits two hours at most."
  }

  validation {
    condition = alltrue([
      for parser in [var.model.tool_call_parser, var.model.reasoning_parser] :
      parser == null ? true : can(regex("^[a-z0-9_]+$", parser))
    ])
    error_message = "Parsers are names that vLLM knows: lower-case letters, digits and _."
  }
}

variable "images" {
  description = "Container images in ECR, pinned by digest: a tag can be moved, a digest cannot. `account_id` is the registry's owner, by default this account. Copies are made by ECR replication or a pull-through cache."
  type = object({
    account_id = optional(string)
    vllm       = object({ repository = string, digest = string })
    dcgm       = object({ repository = string, digest = string })
  })

  validation {
    condition = alltrue([
      for image in [var.images.vllm, var.images.dcgm] :
      can(regex("^sha256:[0-9a-f]{64}$", image.digest)) && can(regex("^[a-z0-9][a-z0-9._/-]*$", image.repository))
    ])
    error_message = "An image is a repository without tag and a digest like sha256:<64 hexadecimal digits>."
  }
}
