# One pool: GPU replicas of one model, and two gates in front of them. Read: main → network → replicas → gates →
# scaling → alarms; user-data/ is what the machines do.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  name         = "meridian-${var.pool_id}"
  account_id   = data.aws_caller_identity.current.account_id
  partition    = data.aws_partition.current.partition
  aws_region   = data.aws_region.current.id
  engine_port  = 8000
  dcgm_port    = 9400
  gate_port    = 9001
  metric_space = "Meridian/Pool"

  # What the gates look for. Only roles that may start instances can set tags, so a tag is as good as a list.
  replica_tag = { key = "meridian:replica-of", value = var.pool_id }

  tags = merge(var.tags, { "meridian:pool" = var.pool_id })

  network = var.network != null ? var.network : {
    vpc_id             = module.network[0].vpc_id
    gate_subnet_ids    = module.network[0].gate_subnet_ids
    replica_subnet_ids = module.network[0].replica_subnet_ids
  }

  adapters         = try(var.model.lora.adapters, [])
  served_names     = concat([var.model.name], local.adapters[*].name)
  weight_prefixes  = concat([var.model.weights.prefix], local.adapters[*].prefix)
  weight_manifests = concat([var.model.weights.manifest_sha256], local.adapters[*].manifest_sha256)

  warmup_seconds = var.scaling.start_seconds + ceil(var.model.weights.size_gib * 1024 / var.scaling.load_mib_per_second)

  running      = var.paused ? 0 : 1
  max_replicas = var.capacity.peak_replicas + var.capacity.headroom + var.capacity.extra_replicas
  min_replicas = var.capacity.min_replicas + var.capacity.headroom

  # At N + headroom replicas the load of N busy ones is spread over all, so each is that much less busy. Aiming
  # at this share keeps the headroom free at the peak; aiming at busy_share would use it up before then.
  requests_per_replica = (
    var.model.concurrency_per_replica * var.scaling.busy_share *
    var.capacity.peak_replicas / (var.capacity.peak_replicas + var.capacity.headroom)
  )
}

module "artifacts" {
  source = "./artifacts"

  create_autoscaling_role = var.create_autoscaling_role
  name                    = local.name
}

module "network" {
  source = "./network"
  count  = var.new_network == null ? 0 : 1

  cidr                     = var.new_network.cidr
  kms_key_arn              = module.artifacts.kms_key_arn
  log_retention_days       = var.log_retention_days
  name                     = local.name
  nat_per_zone             = var.new_network.nat_per_zone
  permissions_boundary_arn = var.permissions_boundary_arn
  private_endpoints        = var.new_network.private_endpoints
  zones                    = var.new_network.zones
}

resource "aws_cloudwatch_log_group" "node" {
  for_each = toset(["gate", "replica"])

  name              = "/meridian/${local.name}/${each.key}"
  kms_key_id        = module.artifacts.kms_key_arn
  retention_in_days = var.log_retention_days

  tags = local.tags
}
