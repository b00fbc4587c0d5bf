# What is refused before anything is asked of Cloudflare: neither validate nor plan knows these by itself.
mock_provider "cloudflare" {
  override_during = plan
}

variables {
  account_id = "0123456789abcdef0123456789abcdef"
  hostname   = "llm.example.net"
  regions    = { fra = { aws_region = "eu-central-1" } }
  zone_id    = "fedcba9876543210fedcba9876543210"
  zone_name  = "example.net"
}

run "what_is_right_passes" {
  command = plan

  variables {
    access           = { emails = ["ops@example.net"], email_domains = ["example.net"] }
    log_destinations = { a = { dataset = "audit_logs", destination = "gs://logs-example/x" } }
    rate_limit       = { requests = 50, period_seconds = 60, mitigation_seconds = 600 }
    service_token    = { version = 3, previous_until = "2026-12-01T00:00:00Z", duration = "17520h" }
  }
}

run "an_account_that_is_a_name" {
  command         = plan
  expect_failures = [var.account_id]

  variables {
    account_id = "example"
  }
}

run "a_zone_that_is_a_name" {
  command         = plan
  expect_failures = [var.zone_id]

  variables {
    zone_id = "example.net"
  }
}

run "a_zone_with_a_scheme" {
  command         = plan
  expect_failures = [var.zone_name]

  variables {
    zone_name = "https://example.net"
  }
}

run "a_host_in_another_zone" {
  command         = plan
  expect_failures = [var.hostname]

  variables {
    hostname = "llm.example.org"
  }
}

run "a_host_with_a_path" {
  command         = plan
  expect_failures = [var.hostname]

  variables {
    hostname = "llm.example.net/v1.example.net"
  }
}

run "a_person_with_a_wildcard" {
  command         = plan
  expect_failures = [var.access]

  variables {
    access = { emails = ["*@example.net"] }
  }
}

run "a_domain_where_anybody_is" {
  command         = plan
  expect_failures = [var.access]

  variables {
    access = { email_domains = ["gmail.com"] }
  }
}

run "a_session_without_end" {
  command         = plan
  expect_failures = [var.access]

  variables {
    access = { session_duration = "0h" }
  }
}

run "an_owner_that_nobody_knows" {
  command         = plan
  expect_failures = [var.custom_domain_owner]

  variables {
    custom_domain_owner = "both"
  }
}

run "a_port_that_needs_root" {
  command         = plan
  expect_failures = [var.gate_port]

  variables {
    gate_port = 80
  }
}

run "a_binding_in_lower_case" {
  command         = plan
  expect_failures = [var.kv_namespaces]

  variables {
    kv_namespaces = { cache = "x" }
  }
}

run "a_log_with_a_key_in_it" {
  command         = plan
  expect_failures = [var.log_destinations]

  variables {
    log_destinations = { a = { dataset = "audit_logs", destination = "s3://logs/x?access-key-id=a&secret-access-key=b" } }
  }
}

run "a_dataset_that_nobody_knows" {
  command         = plan
  expect_failures = [var.log_destinations]

  variables {
    log_destinations = { a = { dataset = "worker_trace_events", destination = "s3://logs-example/x" } }
  }
}

run "a_sample_of_nothing" {
  command         = plan
  expect_failures = [var.log_destinations]

  variables {
    log_destinations = { a = { dataset = "audit_logs", destination = "s3://logs-example/x", sample_rate = 0 } }
  }
}

run "a_rate_limit_in_odd_periods" {
  command         = plan
  expect_failures = [var.rate_limit]

  variables {
    rate_limit = { requests = 100, period_seconds = 15 }
  }
}

run "a_rate_limit_that_hits_offices" {
  command         = plan
  expect_failures = [var.rate_limit]

  variables {
    rate_limit = { requests = 5 }
  }
}

run "a_rate_limit_that_ends_at_once" {
  command         = plan
  expect_failures = [var.rate_limit]

  variables {
    rate_limit = { requests = 100, mitigation_seconds = 1 }
  }
}

run "a_region_with_spaces" {
  command         = plan
  expect_failures = [var.regions]

  variables {
    regions = { "US East" = { aws_region = "us-east-1" } }
  }
}

run "a_region_that_is_a_zone" {
  command         = plan
  expect_failures = [var.regions]

  variables {
    regions = { fra = { aws_region = "eu-central-1a" } }
  }
}

run "a_gate_too_deep_for_the_certificate" {
  command         = plan
  expect_failures = [var.regions]

  variables {
    regions = { fra = { aws_region = "eu-central-1", gate_hostname = "gate.fra.example.net" } }
  }
}

run "a_gate_with_the_name_of_the_api" {
  command         = plan
  expect_failures = [var.regions]

  variables {
    regions = { fra = { aws_region = "eu-central-1", gate_hostname = "llm.example.net" } }
  }
}

run "two_regions_behind_one_name" {
  command         = plan
  expect_failures = [var.regions]

  variables {
    regions = { fra = { aws_region = "eu-central-1", gate_hostname = "gate.example.net" }, iad = { aws_region = "us-east-1", gate_hostname = "gate.example.net" } }
  }
}

run "a_token_where_its_name_belongs" {
  command         = plan
  expect_failures = [var.regions]

  variables {
    regions = { fra = { aws_region = "eu-central-1", tunnel_token_parameter = "eyJhIjoiMDEyMzQ1In0=" } }
  }
}

run "a_service_token_for_ever" {
  command         = plan
  expect_failures = [var.service_token]

  variables {
    service_token = { duration = "forever" }
  }
}

run "a_service_token_of_no_version" {
  command         = plan
  expect_failures = [var.service_token]

  variables {
    service_token = { version = 0 }
  }
}

run "a_service_token_until_someday" {
  command         = plan
  expect_failures = [var.service_token]

  variables {
    service_token = { previous_until = "tomorrow" }
  }
}

run "a_worker_in_capitals" {
  command         = plan
  expect_failures = [var.worker_name]

  variables {
    worker_name = "Meridian"
  }
}
