# Three regions with the same model. A region that is lost is carried by the others: size the peaks for that.
# A provider cannot be chosen by for_each, so each AWS region is one module call; the pools in it are a for_each over
# the map `pools`. A further pool in a region that is here is an entry in terraform.tfvars; a further AWS region is
# one more provider and one more copy of the call below.

locals {
  pools = var.pools

  size = {
    instance_types = ["g6e.xlarge", "g6e.2xlarge", "g6e.4xlarge"]
    capacity       = { min_replicas = 1, on_demand_base = 2 }
    scaling        = {}
    budget_usd     = 9000
  }

  model = {
    name                    = "llama-3.1-8b"
    revision                = var.weights.revision
    weights                 = { prefix = var.weights.prefix, manifest_sha256 = var.weights.manifest_sha256, size_gib = var.weights.size_gib }
    quantisation            = "fp8"
    tensor_parallel_size    = 1
    max_model_len           = 16384
    concurrency_per_replica = 32
  }
}

module "us_east_1" {
  source    = "../../gpu-origin"
  for_each  = { for id, pool in local.pools : id => pool if pool.aws_region == "us-east-1" }
  providers = { aws = aws.us_east_1 }

  pool_id                 = each.key
  region                  = each.value.region
  position                = each.value.position
  hint                    = each.value.hint
  edge_url                = var.edge_url
  gate_hostnames          = each.value.gate_hostnames
  gate_secret_parameter   = "/meridian/${each.key}/gate-secrets"
  tunnel_token_parameter  = "/meridian/${each.key}/tunnel-token"
  instance_types          = local.size.instance_types
  capacity                = merge(local.size.capacity, { peak_replicas = each.value.peak_replicas })
  scaling                 = local.size.scaling
  schedules               = each.value.schedules
  new_network             = { zones = each.value.zones }
  model                   = local.model
  gate                    = var.gate
  images                  = var.images
  alarms                  = { emails = var.oncall_emails }
  budget                  = { limit_usd = local.size.budget_usd, emails = var.oncall_emails }
  create_autoscaling_role = each.value.create_autoscaling_role
  paused                  = var.paused
}

module "eu_west_1" {
  source    = "../../gpu-origin"
  for_each  = { for id, pool in local.pools : id => pool if pool.aws_region == "eu-west-1" }
  providers = { aws = aws.eu_west_1 }

  pool_id                 = each.key
  region                  = each.value.region
  position                = each.value.position
  hint                    = each.value.hint
  edge_url                = var.edge_url
  gate_hostnames          = each.value.gate_hostnames
  gate_secret_parameter   = "/meridian/${each.key}/gate-secrets"
  tunnel_token_parameter  = "/meridian/${each.key}/tunnel-token"
  instance_types          = local.size.instance_types
  capacity                = merge(local.size.capacity, { peak_replicas = each.value.peak_replicas })
  scaling                 = local.size.scaling
  schedules               = each.value.schedules
  new_network             = { zones = each.value.zones }
  model                   = local.model
  gate                    = var.gate
  images                  = var.images
  alarms                  = { emails = var.oncall_emails }
  budget                  = { limit_usd = local.size.budget_usd, emails = var.oncall_emails }
  create_autoscaling_role = each.value.create_autoscaling_role
  paused                  = var.paused
}

module "ap_northeast_1" {
  source    = "../../gpu-origin"
  for_each  = { for id, pool in local.pools : id => pool if pool.aws_region == "ap-northeast-1" }
  providers = { aws = aws.ap_northeast_1 }

  pool_id                 = each.key
  region                  = each.value.region
  position                = each.value.position
  hint                    = each.value.hint
  edge_url                = var.edge_url
  gate_hostnames          = each.value.gate_hostnames
  gate_secret_parameter   = "/meridian/${each.key}/gate-secrets"
  tunnel_token_parameter  = "/meridian/${each.key}/tunnel-token"
  instance_types          = local.size.instance_types
  capacity                = merge(local.size.capacity, { peak_replicas = each.value.peak_replicas })
  scaling                 = local.size.scaling
  schedules               = each.value.schedules
  new_network             = { zones = each.value.zones }
  model                   = local.model
  gate                    = var.gate
  images                  = var.images
  alarms                  = { emails = var.oncall_emails }
  budget                  = { limit_usd = local.size.budget_usd, emails = var.oncall_emails }
  create_autoscaling_role = each.value.create_autoscaling_role
  paused                  = var.paused
}
