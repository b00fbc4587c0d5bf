# Two regions as an operator would write them. Ids are made up, different for each region, so that a link to the wrong
# one is seen.
mock_provider "cloudflare" {
  override_during = plan

  mock_resource "cloudflare_zero_trust_access_service_token" {
    defaults = {
      id            = "token-id"
      client_id     = "client-id"
      client_secret = "client-secret"
    }
  }
}

override_resource {
  target          = cloudflare_zero_trust_tunnel_cloudflared.region["fra"]
  override_during = plan
  values          = { id = "11111111-0000-0000-0000-000000000000" }
}

override_resource {
  target          = cloudflare_zero_trust_tunnel_cloudflared.region["iad"]
  override_during = plan
  values          = { id = "22222222-0000-0000-0000-000000000000" }
}

override_resource {
  target          = cloudflare_zero_trust_access_policy.deploy
  override_during = plan
  values          = { id = "policy-deploy" }
}

override_resource {
  target          = cloudflare_zero_trust_access_policy.people
  override_during = plan
  values          = { id = "policy-people" }
}

variables {
  account_id = "0123456789abcdef0123456789abcdef"
  hostname   = "llm.example.net"
  regions = {
    fra = { aws_region = "eu-central-1" }
    iad = {
      aws_region             = "us-east-1"
      gate_hostname          = "gpu-us.example.net"
      gate_secret_parameter  = "/prod/us/gate"
      kms_key_id             = "alias/meridian"
      tunnel_token_parameter = "/prod/us/tunnel"
    }
  }
  zone_id   = "fedcba9876543210fedcba9876543210"
  zone_name = "example.net"
}

run "one_tunnel_per_region" {
  command = plan

  assert {
    condition     = toset(keys(cloudflare_zero_trust_tunnel_cloudflared.region)) == toset(["fra", "iad"])
    error_message = "Every region has a tunnel of its own."
  }

  assert {
    condition = alltrue([
      for name, tunnel in cloudflare_zero_trust_tunnel_cloudflared.region :
      tunnel.config_src == "cloudflare" && tunnel.name == "meridian-${name}" && tunnel.account_id == var.account_id
    ])
    error_message = "A tunnel takes its ingress from Cloudflare: what a node has on its disk opens nothing."
  }

  assert {
    condition     = alltrue([for tunnel in cloudflare_zero_trust_tunnel_cloudflared.region : tunnel.tunnel_secret == null])
    error_message = "A tunnel's secret would be in the state."
  }
}

run "ingress_is_v1_and_nothing_else" {
  command = plan

  assert {
    condition = alltrue([
      for name, tunnel in cloudflare_zero_trust_tunnel_cloudflared_config.region :
      tunnel.tunnel_id == cloudflare_zero_trust_tunnel_cloudflared.region[name].id && tunnel.source == "cloudflare"
    ])
    error_message = "An ingress belongs to its own region's tunnel."
  }

  assert {
    condition     = alltrue([for tunnel in cloudflare_zero_trust_tunnel_cloudflared_config.region : length(tunnel.config.ingress) == 2])
    error_message = "An ingress has one rule that leads to the gate, and the end."
  }

  assert {
    condition     = alltrue([for tunnel in cloudflare_zero_trust_tunnel_cloudflared_config.region : tunnel.config.ingress[0].path == "^/v1/"])
    error_message = "The gate is reached under /v1/ alone, anchored at the start of the path."
  }

  assert {
    condition     = alltrue([for tunnel in cloudflare_zero_trust_tunnel_cloudflared_config.region : tunnel.config.ingress[0].service == "http://127.0.0.1:9001"])
    error_message = "A connector speaks to the gate on its own node."
  }

  assert {
    condition = (
      cloudflare_zero_trust_tunnel_cloudflared_config.region["fra"].config.ingress[0].hostname == "gate-fra.example.net" &&
      cloudflare_zero_trust_tunnel_cloudflared_config.region["iad"].config.ingress[0].hostname == "gpu-us.example.net"
    )
    error_message = "An ingress answers to its own region's name alone."
  }

  assert {
    condition = alltrue([
      for tunnel in cloudflare_zero_trust_tunnel_cloudflared_config.region :
      tunnel.config.ingress[1].service == "http_status:404"
    ])
    error_message = "All else ends in 404."
  }

  assert {
    condition = alltrue([
      for tunnel in cloudflare_zero_trust_tunnel_cloudflared_config.region :
      tunnel.config.ingress[0].origin_request.keep_alive_timeout < 100
    ])
    error_message = "The connector closes idle connections before the gate does (100 s)."
  }
}

run "names_lead_into_the_tunnels" {
  command = plan

  assert {
    condition     = toset(keys(cloudflare_dns_record.gate)) == toset(["fra", "iad"])
    error_message = "Every region has a name."
  }

  assert {
    condition = (
      cloudflare_dns_record.gate["fra"].content == "11111111-0000-0000-0000-000000000000.cfargotunnel.com" &&
      cloudflare_dns_record.gate["iad"].content == "22222222-0000-0000-0000-000000000000.cfargotunnel.com"
    )
    error_message = "A name leads into its own region's tunnel."
  }

  assert {
    condition = alltrue([
      for record in cloudflare_dns_record.gate : record.type == "CNAME" && record.proxied && record.ttl == 1 && record.zone_id == var.zone_id
    ])
    error_message = "A tunnel is reached through the proxy alone."
  }
}

run "access_lets_the_token_in_and_nobody_else" {
  command = plan

  assert {
    condition = toset([for place in cloudflare_zero_trust_access_application.admin.destinations : place.uri]) == toset([
      "llm.example.net/admin", "llm.example.net/console",
    ])
    error_message = "The admin API and the console are behind Access."
  }

  assert {
    condition     = alltrue([for place in cloudflare_zero_trust_access_application.admin.destinations : place.type == "public"])
    error_message = "Destinations are public host names."
  }

  assert {
    condition     = cloudflare_zero_trust_access_application.admin.type == "self_hosted"
    error_message = "Access guards a host of ours."
  }

  assert {
    condition     = [for policy in cloudflare_zero_trust_access_application.admin.policies : policy.id] == ["policy-deploy"]
    error_message = "With no people named, the service token's policy is the only one."
  }

  assert {
    condition     = cloudflare_zero_trust_access_policy.deploy.decision == "non_identity"
    error_message = "A service token passes only a policy that asks for no identity."
  }

  assert {
    condition = (
      length(cloudflare_zero_trust_access_policy.deploy.include) == 1 &&
      alltrue([for rule in cloudflare_zero_trust_access_policy.deploy.include : rule.service_token.token_id == "token-id"])
    )
    error_message = "The policy lets in this one token."
  }

  assert {
    condition = (
      cloudflare_zero_trust_access_application.admin.service_auth_401_redirect &&
      cloudflare_zero_trust_access_application.admin.http_only_cookie_attribute &&
      cloudflare_zero_trust_access_application.admin.same_site_cookie_attribute == "strict"
    )
    error_message = "Programs get 401; the cookie is out of reach for scripts and other sites."
  }

  assert {
    condition     = cloudflare_zero_trust_access_service_token.deploy.duration == "8760h"
    error_message = "The token ends after a year."
  }
}

run "nothing_optional_is_made_unasked" {
  command = plan

  assert {
    condition = (
      length(cloudflare_workers_custom_domain.api) == 0 && length(cloudflare_workers_kv_namespace.main) == 0 &&
      length(cloudflare_ruleset.firewall) == 0 && length(cloudflare_ruleset.rate_limit) == 0 &&
      length(cloudflare_logpush_job.main) == 0 && length(cloudflare_logpush_ownership_challenge.main) == 0 &&
      length(cloudflare_zero_trust_access_policy.people) == 0
    )
    error_message = "A zone's rules, logs and storage are not touched unless somebody says so."
  }
}

run "contract" {
  command = plan

  assert {
    # What the tests of npm run deploy read as Terraform's output, so that the two sides cannot drift apart.
    condition     = jsonencode(output.deploy) == jsonencode(jsondecode(file("tests/contract.json")))
    error_message = "The contract with npm run deploy changed."
  }

  assert {
    condition     = output.regions["fra"].gates == ["https://gate-fra.example.net"] && output.regions["iad"].gate_port == 9001
    error_message = "gpu-origin is told where its gates are reached and where they listen."
  }

  assert {
    condition     = output.edge_url == "https://llm.example.net"
    error_message = "gpu-origin is told where its gates report."
  }

  assert {
    condition     = !strcontains(jsonencode([output.deploy, output.regions]), "client-secret")
    error_message = "A secret is in an output that is shown."
  }
}
