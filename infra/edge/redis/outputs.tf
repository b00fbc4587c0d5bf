output "redis" {
  description = "For `npm run deploy -- --terraform`: the Worker's UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN."
  sensitive   = true
  value = {
    rest_token = upstash_redis_database.main.rest_token
    rest_url   = "https://${upstash_redis_database.main.endpoint}"
  }
}
