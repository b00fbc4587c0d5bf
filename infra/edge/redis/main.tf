# Optional, and a root of its own: its provider wants credentials even where nothing of it is used, and the state of this
# one holds the database's tokens, since the provider has no other way to hand them over.
provider "upstash" {
  api_key = var.upstash_api_key
  email   = var.upstash_email
}

resource "upstash_redis_database" "main" {
  # Meridian keeps nothing there that it cannot do without, but an evicted counter would let a flood through.
  eviction       = false
  budget         = var.budget_usd
  database_name  = var.name
  primary_region = var.primary_region
  read_regions   = var.read_regions
  # The REST interface answers from the nearest of its regions; Workers call it from everywhere.
  region = "global"
  # The provider's own default is off, and a later change replaces the database.
  tls = true

  lifecycle {
    prevent_destroy = true
  }
}
