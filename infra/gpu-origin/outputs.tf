output "bucket" {
  description = "Where weights (under their prefixes) and programs (under programs/) go."
  value       = module.artifacts.bucket.name
}

output "groups" {
  description = "Names of the scaling groups."
  value       = { replica = aws_autoscaling_group.replica.name, gates = [for group in aws_autoscaling_group.gate : group.name] }
}

output "kms_key_arn" {
  description = "The pool's key; the two parameters may be encrypted with it."
  value       = module.artifacts.kms_key_arn
}

output "log_groups" {
  description = "Log groups of the nodes."
  value       = { for name, group in aws_cloudwatch_log_group.node : name => group.name }
}

output "network" {
  description = "The network, to be given to a second pool of the region."
  value       = local.network
}

output "pool" {
  description = "What Meridian's registry is told of this pool: PoolInput of the admin API, with host names instead of URLs as gates."
  value = {
    id       = var.pool_id
    region   = var.region
    position = var.position
    hint     = var.hint
    gates    = var.gate_hostnames
    models = [
      for name in local.served_names : { model = name, concurrencyPerReplica = var.model.concurrency_per_replica }
    ]
  }
}

output "user_data" {
  description = "What the machines are told at boot, as text. Holds no secret."
  value       = { replica = module.replica_user_data.user_data, gates = { for place, gate in module.gate_user_data : place => gate.user_data } }
}

output "warmup_seconds" {
  description = "How long a new replica takes until it serves, as scaling counts on."
  value       = local.warmup_seconds
}
