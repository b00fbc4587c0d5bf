mock_provider "aws" {
  alias           = "us_east_1"
  source          = "../../gpu-origin/tests/mocks/aws"
  override_during = plan

  mock_data "aws_region" {
    defaults = { id = "us-east-1", name = "us-east-1" }
  }
}

mock_provider "aws" {
  alias           = "eu_west_1"
  source          = "../../gpu-origin/tests/mocks/aws"
  override_during = plan

  mock_data "aws_region" {
    defaults = { id = "eu-west-1", name = "eu-west-1" }
  }
}

mock_provider "aws" {
  alias           = "ap_northeast_1"
  source          = "../../gpu-origin/tests/mocks/aws"
  override_during = plan

  mock_data "aws_region" {
    defaults = { id = "ap-northeast-1", name = "ap-northeast-1" }
  }
}

variables {
  edge_url      = "https://api.example.com"
  oncall_emails = ["oncall@example.com"]
  paused        = false

  pools = {
    us-east-8b = {
      aws_region              = "us-east-1"
      create_autoscaling_role = true
      gate_hostnames          = ["gate-us-east.example.com"]
      hint                    = "enam"
      peak_replicas           = 2
      position                = { latitude = 38.9, longitude = -77.4 }
      region                  = "us-east"
      zones                   = ["us-east-1a", "us-east-1c"]
    }
    eu-west-8b = {
      aws_region     = "eu-west-1"
      gate_hostnames = ["gate-eu-west.example.com"]
      hint           = "weur"
      peak_replicas  = 2
      position       = { latitude = 53.3, longitude = -6.3 }
      region         = "eu-west"
      zones          = ["eu-west-1a", "eu-west-1c"]
    }
    ap-northeast-8b = {
      aws_region     = "ap-northeast-1"
      gate_hostnames = ["gate-ap-northeast.example.com"]
      hint           = "apac-ne"
      peak_replicas  = 2
      position       = { latitude = 35.7, longitude = 139.7 }
      region         = "ap-northeast"
      zones          = ["ap-northeast-1a", "ap-northeast-1c"]
    }
  }

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
    condition     = length(output.pools) == 3 && length(distinct(output.pools[*].region)) == 3
    error_message = "one pool in each region"
  }
}
