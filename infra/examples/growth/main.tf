provider "aws" {
  region = var.aws_region
}

# 100 to 1,000 users: three nodes at the peak of a day, one of them spare at any time.
module "pool" {
  source = "../../gpu-origin"

  pool_id  = "growth-chat"
  region   = var.region.name
  position = var.region.position
  hint     = var.region.hint

  edge_url               = var.edge_url
  gate_hostnames         = var.gate_hostnames
  gate_secret_parameter  = "/meridian/growth-chat/gate-secrets"
  tunnel_token_parameter = "/meridian/growth-chat/tunnel-token"

  instance_types = ["g6e.xlarge", "g6e.2xlarge", "g6e.4xlarge"]

  # Three replicas carry the peak with one of them gone: N = 2 and one spare, since the budget has no room for two.
  capacity  = { peak_replicas = 2, headroom = 1, min_replicas = 1, extra_replicas = 1, on_demand_base = 2 }
  scaling   = { forecast = "only" }
  schedules = { working-hours = { recurrence = "0 7 * * 1-5", min_replicas = 2 }, evening = { recurrence = "0 19 * * *", min_replicas = 1 } }

  new_network = { zones = ["${var.aws_region}a", "${var.aws_region}b"], nat_per_zone = false }
  budget      = { limit_usd = 6000, emails = var.oncall_emails }

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
