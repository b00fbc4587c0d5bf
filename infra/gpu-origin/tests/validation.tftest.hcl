# What the variables refuse. Neither a plan nor the provider would know these mistakes before an apply.
mock_provider "aws" {
  source          = "./tests/mocks/aws"
  override_during = plan
}

variables {
  edge_url               = "https://api.example.com"
  gate_hostnames         = ["gate-us-east.example.com"]
  gate_secret_parameter  = "/meridian/us-east-chat/gate-secrets"
  tunnel_token_parameter = "/meridian/us-east-chat/tunnel-token"
  hint                   = "enam"
  pool_id                = "us-east-chat"
  region                 = "us-east"
  position               = { latitude = 38.9, longitude = -77.4 }
  new_network            = { zones = ["us-east-1a", "us-east-1b"] }
  instance_types         = ["g6e.xlarge", "g6e.2xlarge"]
  capacity               = { peak_replicas = 4, min_replicas = 1 }
  alarms                 = { emails = ["oncall@example.com"] }
  budget                 = { limit_usd = 9000, emails = ["finance@example.com"] }

  model = {
    name                    = "llama-3.1-8b"
    revision                = "0e9e39f249a16976918f6564b8830bc894c89659"
    weights                 = { prefix = "models/llama-3.1-8b/0e9e39f2", manifest_sha256 = "1111111111111111111111111111111111111111111111111111111111111111", size_gib = 15 }
    tensor_parallel_size    = 1
    max_model_len           = 16384
    concurrency_per_replica = 32
    quantisation            = "fp8"
    tool_call_parser        = "llama3_json"
    lora = {
      adapters = [{ name = "support", prefix = "lora/support/1", manifest_sha256 = "2222222222222222222222222222222222222222222222222222222222222222" }]
    }
  }

  images = {
    vllm = { repository = "vllm/vllm-openai", digest = "sha256:3333333333333333333333333333333333333333333333333333333333333333" }
    dcgm = { repository = "nvidia/dcgm-exporter", digest = "sha256:4444444444444444444444444444444444444444444444444444444444444444" }
  }

  gate = {
    bundle      = { key = "programs/gate.mjs", sha256 = "5555555555555555555555555555555555555555555555555555555555555555" }
    node        = { key = "programs/node.tar.xz", sha256 = "6666666666666666666666666666666666666666666666666666666666666666" }
    cloudflared = { key = "programs/cloudflared", sha256 = "7777777777777777777777777777777777777777777777777777777777777777" }
  }
}

run "unknown_instance_type" {
  command         = plan
  expect_failures = [var.instance_types]

  variables {
    instance_types = ["g6e.nonsense"]
  }
}

run "wrong_gpu_count" {
  command         = plan
  expect_failures = [var.instance_types]

  variables {
    instance_types = ["g6e.xlarge", "g6e.12xlarge"]
  }
}

run "weights_too_large" {
  command         = plan
  expect_failures = [var.instance_types]

  variables {
    instance_types = ["g5.xlarge"]
    model          = merge(var.model, { weights = merge(var.model.weights, { size_gib = 30 }) })
  }
}

run "misspelt_spot_strategy" {
  command         = plan
  expect_failures = [var.capacity]

  variables {
    capacity = { peak_replicas = 2, spot_strategy = "price-capacity-optimised" }
  }
}

run "too_many_replicas" {
  command         = plan
  expect_failures = [var.capacity]

  variables {
    capacity = { peak_replicas = 31 }
  }
}

run "minimum_above_peak" {
  command         = plan
  expect_failures = [var.capacity]

  variables {
    capacity = { peak_replicas = 2, min_replicas = 3 }
  }
}

run "floating_revision" {
  command         = plan
  expect_failures = [var.model]

  variables {
    model = merge(var.model, { revision = "main" })
  }
}

run "unknown_quantisation" {
  command         = plan
  expect_failures = [var.model]

  variables {
    model = merge(var.model, { quantisation = "fp4" })
  }
}

run "queue_below_caps" {
  command         = plan
  expect_failures = [var.model]

  variables {
    model = merge(var.model, { queue_limit = 40 })
  }
}

run "drain_beyond_hook" {
  command         = plan
  expect_failures = [var.model]

  variables {
    model = merge(var.model, { drain_seconds = 7200 })
  }
}

run "unpinned_image" {
  command         = plan
  expect_failures = [var.images]

  variables {
    images = merge(var.images, { vllm = { repository = "vllm/vllm-openai", digest = "latest" } })
  }
}

run "unpinned_program" {
  command         = plan
  expect_failures = [var.gate]

  variables {
    gate = merge(var.gate, { bundle = { key = "programs/gate.mjs", sha256 = "" } })
  }
}

run "secret_as_value" {
  command         = plan
  expect_failures = [var.gate_secret_parameter]

  variables {
    gate_secret_parameter = "{\"1\":\"a secret\"}"
  }
}

run "token_as_value" {
  command         = plan
  expect_failures = [var.tunnel_token_parameter]

  variables {
    tunnel_token_parameter = "eyJhIjoiZm9vIn0="
  }
}

run "plain_edge" {
  command         = plan
  expect_failures = [var.edge_url]

  variables {
    edge_url = "http://api.example.com"
  }
}

run "unknown_hint" {
  command         = plan
  expect_failures = [var.hint]

  variables {
    hint = "mars"
  }
}

run "one_zone" {
  command         = plan
  expect_failures = [var.new_network]

  variables {
    new_network = { zones = ["us-east-1a", "us-east-1a"] }
  }
}

run "unknown_forecast" {
  command         = plan
  expect_failures = [var.scaling]

  variables {
    scaling = { forecast = "yes" }
  }
}

run "forever_loading" {
  command         = plan
  expect_failures = [var.scaling]

  variables {
    scaling = { load_mib_per_second = 10, start_seconds = 6000 }
  }
}

run "schedule_above_peak" {
  command         = plan
  expect_failures = [var.schedules]

  variables {
    schedules = { party = { recurrence = "0 8 * * *", min_replicas = 9 } }
  }
}

run "gate_of_another_kind" {
  command         = plan
  expect_failures = [var.gate]

  variables {
    gate = merge(var.gate, { instance_type = "m7i.large" })
  }
}
