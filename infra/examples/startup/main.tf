provider "aws" {
  region = var.aws_region
}

# 10 to 100 users: one vLLM node, and the least around it.
module "pool" {
  source = "../../gpu-origin"

  pool_id  = "startup-chat"
  region   = var.region.name
  position = var.region.position
  hint     = var.region.hint

  edge_url               = var.edge_url
  gate_hostnames         = var.gate_hostnames
  gate_secret_parameter  = "/meridian/startup-chat/gate-secrets"
  tunnel_token_parameter = "/meridian/startup-chat/tunnel-token"

  instance_types = ["g6.xlarge", "g6.2xlarge", "g5.xlarge", "g5.2xlarge"]

  # One replica and no headroom: while it is replaced (a warm-up long) there is no service. extra_replicas lets the
  # group start the replacement of one that Spot or an update takes before the old one goes.
  capacity = { peak_replicas = 1, headroom = 0, extra_replicas = 1, on_demand_base = 1 }

  # One NAT and no private endpoints: replicas may reach the internet outwards, and a zone's loss is an outage.
  new_network = { zones = ["${var.aws_region}a", "${var.aws_region}b"], private_endpoints = false, nat_per_zone = false }
  budget      = { limit_usd = 1000, emails = var.oncall_emails }

  create_autoscaling_role = var.create_autoscaling_role
  paused                  = var.paused

  model = {
    name                    = "llama-3.1-8b"
    revision                = var.weights.revision
    weights                 = { prefix = var.weights.prefix, manifest_sha256 = var.weights.manifest_sha256, size_gib = var.weights.size_gib }
    quantisation            = "fp8"
    tensor_parallel_size    = 1
    max_model_len           = 8192
    max_num_seqs            = 32
    queue_limit             = 64
    concurrency_per_replica = 16
  }

  gate   = var.gate
  images = var.images
  alarms = { emails = var.oncall_emails }
}
