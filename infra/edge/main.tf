# What stands around the Worker. Wrangler deploys the code itself: migrations of Durable Objects are applied together
# with a deployment, which Terraform's resources for scripts cannot do in one step.

locals {
  # The API's paths, for rules that know them. src/worker.ts has the routes; a check compares.
  paths = {
    exact    = ["/health", "/ready", "/metrics", "/admin", "/console", "/gate/v1/report"]
    prefixes = ["/v1/", "/admin/", "/console/"]
  }

  regions = {
    for name, region in var.regions : name => {
      aws_region             = region.aws_region
      gate_hostname          = coalesce(region.gate_hostname, "gate-${name}.${var.zone_name}")
      gate_secret_parameter  = coalesce(region.gate_secret_parameter, "/meridian/${name}/gate-secrets")
      kms_key_id             = region.kms_key_id
      tunnel_token_parameter = coalesce(region.tunnel_token_parameter, "/meridian/${name}/tunnel-token")
    }
  }
}

resource "cloudflare_workers_custom_domain" "api" {
  count = var.custom_domain_owner == "terraform" ? 1 : 0

  account_id = var.account_id
  hostname   = var.hostname
  service    = var.worker_name
  zone_id    = var.zone_id
}

resource "cloudflare_workers_kv_namespace" "main" {
  for_each = var.kv_namespaces

  account_id = var.account_id
  title      = each.value

  # Its content is nowhere else.
  lifecycle {
    prevent_destroy = true
  }
}
