output "access_service_token" {
  description = "Headers with which a program passes Access: CF-Access-Client-Id and CF-Access-Client-Secret."
  sensitive   = true
  value = {
    client_id     = cloudflare_zero_trust_access_service_token.deploy.client_id
    client_secret = cloudflare_zero_trust_access_service_token.deploy.client_secret
  }
}

output "deploy" {
  description = "The contract with `npm run deploy -- --terraform`. No secret is in it."
  value = {
    contract    = 1
    account_id  = var.account_id
    edge_url    = "https://${var.hostname}"
    worker_name = var.worker_name
    # Empty: Terraform binds the domain, and wrangler must leave it alone.
    custom_domains = var.custom_domain_owner == "wrangler" ? [var.hostname] : []
    kv_namespaces  = { for binding, namespace in cloudflare_workers_kv_namespace.main : binding => namespace.id }
    logpush        = anytrue([for log in var.log_destinations : log.dataset == "workers_trace_events"])
    regions = {
      for name, region in local.regions : name => {
        aws_region             = region.aws_region
        gate_secret_parameter  = region.gate_secret_parameter
        gate_url               = "https://${region.gate_hostname}"
        kms_key_id             = region.kms_key_id
        tunnel_id              = cloudflare_zero_trust_tunnel_cloudflared.region[name].id
        tunnel_token_parameter = region.tunnel_token_parameter
      }
    }
  }
}

output "edge_url" {
  description = "For gpu-origin: where the gates of every region send their reports."
  value       = "https://${var.hostname}"
}

output "log_ownership_files" {
  description = "Name of a log destination → the file in its bucket whose text goes into ownership_challenge."
  value       = { for name, challenge in cloudflare_logpush_ownership_challenge.main : name => challenge.filename }
}

output "regions" {
  description = "For gpu-origin, by region: the names of its parameters, the tunnel and the gates' address."
  value = {
    for name, region in local.regions : name => {
      aws_region             = region.aws_region
      gate_hostname          = region.gate_hostname
      gate_port              = var.gate_port
      gate_secret_parameter  = region.gate_secret_parameter
      gates                  = ["https://${region.gate_hostname}"]
      tunnel_id              = cloudflare_zero_trust_tunnel_cloudflared.region[name].id
      tunnel_token_parameter = region.tunnel_token_parameter
    }
  }
}
