provider "aws" {
  region = var.aws_region
}

# One region, one model, N + 2 replicas on one GPU each.
module "pool" {
  source = "../../gpu-origin"

  pool_id  = "us-east-chat"
  region   = var.region.name
  position = var.region.position
  hint     = var.region.hint

  edge_url               = var.edge_url
  gate_hostnames         = var.gate_hostnames
  gate_secret_parameter  = "/meridian/us-east-chat/gate-secrets"
  tunnel_token_parameter = "/meridian/us-east-chat/tunnel-token"

  instance_types = ["g6e.xlarge", "g6e.2xlarge", "g6e.4xlarge"]
  capacity       = { peak_replicas = 2, min_replicas = 1, on_demand_base = 2 }
  new_network    = { zones = ["${var.aws_region}a", "${var.aws_region}b"] }
  budget         = { limit_usd = 9000, emails = var.oncall_emails }

  create_autoscaling_role = var.create_autoscaling_role
  paused                  = var.paused

  model = {
    name                    = "llama-3.1-8b"
    revision                = var.weights.revision
    weights                 = { prefix = var.weights.prefix, manifest_sha256 = var.weights.manifest_sha256, size_gib = var.weights.size_gib }
    quantisation            = "fp8"
    tensor_parallel_size    = 1
    max_model_len           = 16384
    concurrency_per_replica = 32
  }

  gate   = var.gate
  images = var.images
  alarms = { emails = var.oncall_emails }
}
