# No mock: the real provider computes policies and runs its plan-time checks, without an account and without a network.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

# The data sources that ask AWS.
override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.artifacts.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = data.aws_ssm_parameter.replica_ami[0]
  values = { insecure_value = "ami-0123456789abcdef0" }
}

override_data {
  target = data.aws_ssm_parameter.gate_ami[0]
  values = { insecure_value = "ami-0123456789abcdef1" }
}

# Known ARNs, so that the documents that hold them are known at plan.
override_resource {
  target          = module.artifacts.aws_s3_bucket.main
  override_during = plan
  values          = { arn = "arn:aws:s3:::meridian-us-east-chat-artifacts", id = "meridian-us-east-chat-artifacts", bucket = "meridian-us-east-chat-artifacts" }
}

override_resource {
  target          = module.artifacts.aws_kms_key.main
  override_during = plan
  values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000", key_id = "00000000-0000-0000-0000-000000000000" }
}

override_resource {
  target          = aws_cloudwatch_log_group.node
  override_during = plan
  values          = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:meridian" }
}

override_resource {
  target          = module.network[0].aws_cloudwatch_log_group.flow
  override_during = plan
  values          = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:flow" }
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

run "policies" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.node) : [
        for statement in jsondecode(policy.policy).Statement : [
          for action in flatten([statement.Action]) : !strcontains(action, "*")
        ]
      ]
    ]))
    error_message = "policy: no node may do everything of a kind"
  }

  # Actions that know no resources; anything else names what it is about.
  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.node) : [
        for statement in jsondecode(policy.policy).Statement : contains([
          "Sessions", "Metrics", "ImageLogin", "Discovery"
        ], statement.Sid) || !contains(flatten([statement.Resource]), "*")
      ]
    ]))
    error_message = "policy: resources are named wherever AWS knows them"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.node["gate"].policy).Statement : statement.Resource if contains(flatten([statement.Action]), "ssm:GetParameter")
      ])) == toset([
      "arn:aws:ssm:us-east-1:123456789012:parameter/meridian/us-east-chat/gate-secrets",
      "arn:aws:ssm:us-east-1:123456789012:parameter/meridian/us-east-chat/tunnel-token",
    ])
    error_message = "policy: gates read two parameters"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.node["replica"].policy, "ssm:GetParameter")
    error_message = "policy: replicas read no parameter"
  }

  assert {
    condition     = strcontains(module.replica_user_data.user_data, "123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm/vllm-openai@sha256:3333")
    error_message = "image: pinned by digest"
  }
}
