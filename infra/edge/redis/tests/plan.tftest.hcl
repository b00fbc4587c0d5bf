mock_provider "upstash" {
  override_during = plan

  mock_resource "upstash_redis_database" {
    defaults = {
      endpoint   = "eu1-example.upstash.example"
      rest_token = "rest-token"
    }
  }
}

variables {
  primary_region  = "eu-central-1"
  upstash_api_key = "key"
  upstash_email   = "ops@example.net"
}

run "database" {
  command = plan

  variables {
    read_regions = ["us-east-1"]
  }

  assert {
    condition     = upstash_redis_database.main.tls && !upstash_redis_database.main.eviction && upstash_redis_database.main.region == "global"
    error_message = "Encrypted on its way, nothing evicted, near to every Worker."
  }

  assert {
    condition     = upstash_redis_database.main.primary_region == "eu-central-1" && upstash_redis_database.main.read_regions == toset(["us-east-1"])
    error_message = "Where the operator said."
  }

  assert {
    condition     = output.redis == { rest_token = "rest-token", rest_url = "https://eu1-example.upstash.example" }
    error_message = "The contract with npm run deploy changed."
  }
}

run "a_region_that_upstash_has_not" {
  command         = plan
  expect_failures = [var.primary_region]

  variables {
    primary_region = "eu-north-1"
  }
}

run "a_copy_where_upstash_has_none" {
  command         = plan
  expect_failures = [var.read_regions]

  variables {
    read_regions = ["mars-1"]
  }
}

run "no_budget" {
  command         = plan
  expect_failures = [var.budget_usd]

  variables {
    budget_usd = 0
  }
}
