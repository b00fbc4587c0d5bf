output "bucket" {
  description = "Where weights and programs go."
  value       = module.pool.bucket
}

output "pools" {
  description = "What `npm run deploy` registers."
  value       = [module.pool.pool]
}

output "kms_key_arn" {
  description = "Encrypts the two parameters."
  value       = module.pool.kms_key_arn
}
