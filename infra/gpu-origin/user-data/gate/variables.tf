variable "aws_region" {
  description = "Region of the AWS services."
  type        = string
}

variable "bucket" {
  description = "Bucket of the programs."
  type        = string
}

variable "concurrency" {
  description = "Requests that the gate has open at one replica, at most."
  type        = number
}

variable "dcgm_port" {
  description = "Port of the replicas' GPU metrics."
  type        = number
}

variable "drain_seconds" {
  description = "How long streams run on when the gate leaves."
  type        = number
}

variable "edge_url" {
  description = "Where reports go."
  type        = string
}

variable "engine_port" {
  description = "Port of vLLM."
  type        = number
}

variable "gate_name" {
  description = "This gate's name; differs between the gates of a pool."
  type        = string
}

variable "gate_port" {
  description = "Port of the gate, on the loopback interface."
  type        = number
}

variable "gate_secret_parameter" {
  description = "SSM parameter of the pool's secrets."
  type        = string
}

variable "group_name" {
  description = "The gate's scaling group."
  type        = string
}

variable "hooks" {
  description = "Names of the group's lifecycle hooks."
  type        = object({ launch = string, terminate = string })
}

variable "log_group" {
  description = "Where logs go."
  type        = string
}

variable "metric_space" {
  description = "CloudWatch namespace."
  type        = string
}

variable "pool_id" {
  description = "The pool."
  type        = string
}

variable "programs" {
  description = "Objects in the bucket, with their checksums."
  type = object({
    bundle      = object({ key = string, sha256 = string })
    node        = object({ key = string, sha256 = string })
    cloudflared = object({ key = string, sha256 = string })
  })
}

variable "replica_tag" {
  description = "The tag by which replicas are found."
  type        = object({ key = string, value = string })
}

variable "tunnel_token_parameter" {
  description = "SSM parameter of the tunnel's token."
  type        = string
}
