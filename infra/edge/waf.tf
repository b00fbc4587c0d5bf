# A zone has one ruleset per phase, and Terraform owns all of it: import what is there before switching one on.
locals {
  gate_hostnames = [for region in local.regions : region.gate_hostname]
  quoted_gates   = join(" ", [for hostname in local.gate_hostnames : "\"${hostname}\""])
  known_path = join(" or ", concat(
    ["http.request.uri.path in {${join(" ", [for path in local.paths.exact : "\"${path}\""])}}"],
    [for prefix in local.paths.prefixes : "starts_with(http.request.uri.path, \"${prefix}\")"],
  ))

  # No gate, no rule: an empty set is no expression.
  firewall_rules = concat(
    var.waf.gates_for_workers_only && length(local.gate_hostnames) > 0 ? [{
      action      = "block"
      description = "Gates answer to Workers of this zone alone"
      # Empty where a request does not come from a Worker.
      expression = "(http.host in {${local.quoted_gates}} and cf.worker.upstream_zone ne \"${var.zone_name}\")"
      ref        = "meridian_gates_for_workers_only"
    }] : [],
    var.waf.known_paths_only ? [{
      action      = "block"
      description = "Paths that the Worker does not know"
      expression  = "(http.host eq \"${var.hostname}\" and not (${local.known_path}))"
      ref         = "meridian_known_paths_only"
    }] : [],
  )
}

resource "cloudflare_ruleset" "firewall" {
  count = length(local.firewall_rules) > 0 ? 1 : 0

  kind    = "zone"
  name    = "Meridian firewall"
  phase   = "http_request_firewall_custom"
  rules   = local.firewall_rules
  zone_id = var.zone_id
}

resource "cloudflare_ruleset" "rate_limit" {
  count = var.rate_limit == null ? 0 : 1

  kind    = "zone"
  name    = "Meridian rate limit"
  phase   = "http_ratelimit"
  zone_id = var.zone_id

  rules = [
    {
      action      = "block"
      description = "Requests of one client address to the API"
      # Not the gates' reports: all of a region's gates come from one address.
      expression = "(http.host eq \"${var.hostname}\" and starts_with(http.request.uri.path, \"/v1/\"))"
      ref        = "meridian_rate_limit"
      ratelimit = {
        # Counters are kept per Cloudflare location; every plan wants both.
        characteristics     = ["ip.src", "cf.colo.id"]
        mitigation_timeout  = var.rate_limit.mitigation_seconds
        period              = var.rate_limit.period_seconds
        requests_per_period = var.rate_limit.requests
      }
    },
  ]
}
