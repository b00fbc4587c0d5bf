output "bucket" {
  description = "Where weights and programs go."
  value       = module.pool.bucket
}

output "pools" {
  description = "What `npm run deploy` registers."
  value       = [module.pool.pool]
}
