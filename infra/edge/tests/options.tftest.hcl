# Everything that is off unless somebody asks for it.
mock_provider "cloudflare" {
  override_during = plan

  mock_resource "cloudflare_workers_kv_namespace" {
    defaults = { id = "kv-id" }
  }

  mock_resource "cloudflare_logpush_ownership_challenge" {
    defaults = { filename = "challenge.txt" }
  }
}

variables {
  account_id = "0123456789abcdef0123456789abcdef"
  hostname   = "llm.example.net"
  regions = {
    fra = { aws_region = "eu-central-1" }
    iad = { aws_region = "us-east-1" }
  }
  zone_id   = "fedcba9876543210fedcba9876543210"
  zone_name = "example.net"
}

run "people" {
  command = plan

  variables {
    access = { emails = ["ops@example.org"], email_domains = ["example.net"], session_duration = "30m" }
  }

  assert {
    condition     = cloudflare_zero_trust_access_policy.people[0].decision == "allow"
    error_message = "People are allowed in by who they are."
  }

  # What an optional value becomes inside the set is known only after an apply, so the list that goes in is looked at.
  assert {
    condition = jsonencode(local.people) == jsonencode([
      { email = { email = "ops@example.org" }, email_domain = null },
      { email = null, email_domain = { domain = "example.net" } },
    ])
    error_message = "The people and domains named pass, and nobody else."
  }

  assert {
    condition     = length(cloudflare_zero_trust_access_application.admin.policies) == 2 && cloudflare_zero_trust_access_application.admin.session_duration == "30m"
    error_message = "Both policies are on the application."
  }
}

run "the_domain_by_terraform" {
  command = plan

  variables {
    custom_domain_owner = "terraform"
  }

  assert {
    condition     = cloudflare_workers_custom_domain.api[0].hostname == "llm.example.net" && cloudflare_workers_custom_domain.api[0].service == "meridian"
    error_message = "The API's name belongs to the Worker."
  }

  assert {
    condition     = length(output.deploy.custom_domains) == 0
    error_message = "Two owners of one domain would undo each other."
  }
}

run "firewall" {
  command = plan

  variables {
    waf = { gates_for_workers_only = true, known_paths_only = true }
  }

  assert {
    condition     = cloudflare_ruleset.firewall[0].phase == "http_request_firewall_custom" && cloudflare_ruleset.firewall[0].kind == "zone"
    error_message = "Custom rules are in the zone's firewall phase."
  }

  assert {
    condition     = [for rule in cloudflare_ruleset.firewall[0].rules : rule.action] == ["block", "block"]
    error_message = "What a rule names is blocked."
  }

  assert {
    condition     = cloudflare_ruleset.firewall[0].rules[0].expression == "(http.host in {\"gate-fra.example.net\" \"gate-iad.example.net\"} and cf.worker.upstream_zone ne \"example.net\")"
    error_message = "Every gate's name is covered."
  }

  assert {
    condition     = cloudflare_ruleset.firewall[0].rules[1].expression == "(http.host eq \"llm.example.net\" and not (http.request.uri.path in {\"/health\" \"/ready\" \"/metrics\" \"/admin\" \"/console\" \"/gate/v1/report\"} or starts_with(http.request.uri.path, \"/v1/\") or starts_with(http.request.uri.path, \"/admin/\") or starts_with(http.request.uri.path, \"/console/\")))"
    error_message = "The Worker's paths pass."
  }
}

run "firewall_without_regions" {
  command = plan

  variables {
    regions = {}
    waf     = { gates_for_workers_only = true }
  }

  assert {
    condition     = length(cloudflare_ruleset.firewall) == 0
    error_message = "An empty set is no expression."
  }
}

run "rate_limit" {
  command = plan

  variables {
    rate_limit = { requests = 500 }
  }

  assert {
    condition     = cloudflare_ruleset.rate_limit[0].phase == "http_ratelimit" && cloudflare_ruleset.rate_limit[0].rules[0].action == "block"
    error_message = "A rate limit is in its own phase."
  }

  assert {
    condition = (
      cloudflare_ruleset.rate_limit[0].rules[0].ratelimit.requests_per_period == 500 &&
      cloudflare_ruleset.rate_limit[0].rules[0].ratelimit.period == 10 &&
      cloudflare_ruleset.rate_limit[0].rules[0].ratelimit.mitigation_timeout == 10
    )
    error_message = "500 requests in 10 s, then blocked for 10 s."
  }

  assert {
    condition     = toset(cloudflare_ruleset.rate_limit[0].rules[0].ratelimit.characteristics) == toset(["ip.src", "cf.colo.id"])
    error_message = "Counted per address and location."
  }

  assert {
    condition     = !strcontains(cloudflare_ruleset.rate_limit[0].rules[0].expression, "/gate/")
    error_message = "Reports of gates are never limited: a bill would be late."
  }
}

run "kv" {
  command = plan

  variables {
    kv_namespaces = { CACHE = "meridian cache" }
  }

  assert {
    condition     = output.deploy.kv_namespaces == { CACHE = "kv-id" }
    error_message = "The Worker is bound to what was made."
  }
}

run "logs_first_apply" {
  command = plan

  variables {
    log_destinations = { main = { dataset = "workers_trace_events", destination = "s3://logs-example/meridian?region=eu-central-1" } }
  }

  assert {
    condition     = length(cloudflare_logpush_job.main) == 0 && output.log_ownership_files == { main = "challenge.txt" }
    error_message = "The bucket's owner is asked first."
  }
}

run "logs_second_apply" {
  command = plan

  variables {
    log_destinations = {
      main = { dataset = "workers_trace_events", destination = "s3://logs-example/meridian?region=eu-central-1", ownership_challenge = "abc" }
    }
  }

  assert {
    condition     = cloudflare_logpush_job.main["main"].dataset == "workers_trace_events" && cloudflare_logpush_job.main["main"].enabled
    error_message = "The job runs."
  }

  assert {
    condition     = output.deploy.logpush
    error_message = "The Worker's own logs are sent only when its deployment says so."
  }
}

run "rotated_service_token" {
  command = plan

  variables {
    service_token = { version = 2, previous_until = "2026-12-01T00:00:00Z" }
  }

  assert {
    condition = (
      cloudflare_zero_trust_access_service_token.deploy.client_secret_version == 2 &&
      cloudflare_zero_trust_access_service_token.deploy.previous_client_secret_expires_at == "2026-12-01T00:00:00Z"
    )
    error_message = "The old secret works for a while."
  }
}
