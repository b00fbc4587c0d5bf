mock_provider "aws" {
  source          = "../../gpu-origin/tests/mocks/aws"
  override_during = plan
}

variables {
  edge_url       = "https://api.example.com"
  gate_hostnames = ["gate-us-east.example.com"]
  oncall_emails  = ["oncall@example.com"]
  paused         = false

  weights = {
    revision        = "0e9e39f249a16976918f6564b8830bc894c89659"
    prefix          = "models/llama-3.1-8b/0e9e39f2"
    manifest_sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
    size_gib        = 15
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

run "plan" {
  command = plan

  assert {
    condition     = output.pools[0].id == "us-east-chat" && output.pools[0].models[0].model == "llama-3.1-8b"
    error_message = "the pool that the registry is told"
  }
}
