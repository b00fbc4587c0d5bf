variable "aws_region" {
  description = "Region of the AWS services."
  type        = string
}

variable "bucket" {
  description = "Bucket of the weights."
  type        = string
}

variable "dcgm_port" {
  description = "Port of the GPU metrics."
  type        = number
}

variable "engine_port" {
  description = "Port of vLLM."
  type        = number
}

variable "gpus" {
  description = "GPUs that the machine must have."
  type        = number
}

variable "group_name" {
  description = "The replica's scaling group."
  type        = string
}

variable "hooks" {
  description = "Names of the group's lifecycle hooks."
  type        = object({ launch = string, terminate = string })
}

variable "images" {
  description = "Images with registry and digest."
  type        = object({ vllm = string, dcgm = string })
}

variable "log_group" {
  description = "Where logs go."
  type        = string
}

variable "metric_space" {
  description = "CloudWatch namespace."
  type        = string
}

variable "model" {
  description = "The model, as gpu-origin's variable of that name."
  type = object({
    name                   = string
    revision               = string
    weights                = object({ prefix = string, manifest_sha256 = string, size_gib = number })
    quantisation           = string
    checkpoint_format      = string
    tensor_parallel_size   = number
    pipeline_parallel_size = number
    max_model_len          = number
    memory_share           = number
    max_num_seqs           = number
    queue_limit            = number
    priority_scheduling    = bool
    drain_seconds          = number
    tool_call_parser       = optional(string)
    reasoning_parser       = optional(string)
    lora = optional(object({
      max_rank   = number
      max_loaded = number
      adapters   = list(object({ name = string, prefix = string, manifest_sha256 = string }))
    }))
  })
}

variable "pool_id" {
  description = "The pool."
  type        = string
}

variable "registry" {
  description = "Image registry to log in to."
  type        = string
}

variable "warmup_seconds" {
  description = "How long a start takes."
  type        = number
}
