# A mocked apply: what depends on computed values can be made in order and taken down again. No `override_during` here:
# values would be made twice and differ.
mock_provider "aws" {
  source = "./tests/mocks/aws"
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

run "region_comes_up" {
  command = apply

  assert {
    condition     = aws_autoscaling_group.replica.max_size == 6 && length(aws_autoscaling_group.gate) == 2
    error_message = "apply: replicas and gates"
  }

  assert {
    condition     = length(output.network.gate_subnet_ids) == 2
    error_message = "apply: a subnet for each gate"
  }
}
