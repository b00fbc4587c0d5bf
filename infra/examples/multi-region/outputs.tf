locals {
  made = merge(module.us_east_1, module.eu_west_1, module.ap_northeast_1)
}

output "buckets" {
  description = "Pool id → where its weights and programs go."
  value       = { for id, pool in local.made : id => pool.bucket }
}

output "pools" {
  description = "What `npm run deploy` registers."
  value       = [for id, pool in local.made : pool.pool]
}

output "kms_key_arns" {
  description = "Pool id → key that encrypts its two parameters."
  value       = { for id, pool in local.made : id => pool.kms_key_arn }
}
