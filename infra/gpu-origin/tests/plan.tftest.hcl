# What a plan says, with mocked AWS: ids are known, so links can be asserted. Nothing here sees a real policy.
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

run "nodes_are_closed" {
  command = plan

  assert {
    condition = alltrue([
      for template in concat([aws_launch_template.replica], values(aws_launch_template.gate)) :
      template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1
    ])
    error_message = "imds: version 2 with one hop, on every node"
  }

  assert {
    condition = alltrue([
      for template in concat([aws_launch_template.replica], values(aws_launch_template.gate)) :
      !tobool(template.network_interfaces[0].associate_public_ip_address)
    ])
    error_message = "public address: no node has one"
  }

  assert {
    condition = alltrue([
      for template in concat([aws_launch_template.replica], values(aws_launch_template.gate)) :
      tobool(template.block_device_mappings[0].ebs[0].encrypted) && template.block_device_mappings[0].ebs[0].kms_key_id == output.kms_key_arn
    ])
    error_message = "disks: encrypted with the pool's key"
  }

  assert {
    condition     = alltrue([for template in concat([aws_launch_template.replica], values(aws_launch_template.gate)) : template.key_name == null || template.key_name == ""])
    error_message = "ssh: no node has a key pair"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.engine.referenced_security_group_id == aws_security_group.gate.id && aws_vpc_security_group_ingress_rule.engine.cidr_ipv4 == null
    error_message = "ingress: vLLM only hears the gates"
  }
}

run "replicas" {
  command = plan

  assert {
    condition     = toset([for override in aws_autoscaling_group.replica.mixed_instances_policy[0].launch_template[0].override : override.instance_type]) == toset(["g6e.xlarge", "g6e.2xlarge"])
    error_message = "instance types: all of them, and no other"
  }

  assert {
    condition     = aws_autoscaling_group.replica.min_size == 3 && aws_autoscaling_group.replica.max_size == 6
    error_message = "headroom: N + 2 at the top, minimum + 2 at the bottom"
  }

  assert {
    condition = one([
      for hook in aws_autoscaling_group.replica.initial_lifecycle_hook : hook.heartbeat_timeout
      if hook.lifecycle_transition == "autoscaling:EC2_INSTANCE_TERMINATING"
    ]) > var.model.drain_seconds
    error_message = "drain hook: the group waits longer than a replica drains"
  }

  assert {
    condition = alltrue([
      for hook in aws_autoscaling_group.replica.initial_lifecycle_hook : hook.default_result == "ABANDON" && hook.heartbeat_timeout > output.warmup_seconds
      if hook.lifecycle_transition == "autoscaling:EC2_INSTANCE_LAUNCHING"
    ])
    error_message = "launch hook: what never serves is thrown away, after the warm-up"
  }

  assert {
    condition     = aws_autoscaling_group.replica.capacity_rebalance && aws_autoscaling_group.replica.default_instance_warmup == output.warmup_seconds
    error_message = "spot: rebalance, and a warm-up as long as the weights take"
  }

  assert {
    condition     = one([for spec in aws_launch_template.replica.tag_specifications : spec.tags["meridian:replica-of"] if spec.resource_type == "instance"]) == "us-east-chat"
    error_message = "discovery: replicas carry the tag that gates look for"
  }
}

run "gates" {
  command = plan

  assert {
    condition     = toset(keys(aws_autoscaling_group.gate)) == toset(["a", "b"]) && alltrue([for group in aws_autoscaling_group.gate : group.min_size == 1 && group.max_size == 1])
    error_message = "gates: two groups of one"
  }

  assert {
    condition = alltrue([
      for place, document in output.user_data.gates :
      yamldecode(document).write_files[index(yamldecode(document).write_files[*].path, "/opt/meridian/gate.json")].content == "${jsonencode(module.gate_user_data[place].gate_config)}\n"
    ])
    error_message = "gate.json: in the user data"
  }

  assert {
    condition     = module.gate_user_data["a"].gate_config.gate != module.gate_user_data["b"].gate_config.gate
    error_message = "gates: each has a name of its own"
  }

  assert {
    condition     = module.gate_user_data["a"].gate_config.listen.host == "127.0.0.1"
    error_message = "gates: only cloudflared on the same node reaches a gate"
  }
}

run "user_data" {
  command = plan

  assert {
    condition     = alltrue([for document in concat([output.user_data.replica], values(output.user_data.gates)) : toset(keys(yamldecode(document))) == toset(["write_files", "runcmd"])])
    error_message = "cloud-init: known top-level keys only (its schema check does not look at them)"
  }

  assert {
    condition     = contains(module.replica_user_data.vllm_arguments, "--shutdown-timeout=900") && contains(module.replica_user_data.vllm_arguments, "--quantization=fp8") && contains(module.replica_user_data.vllm_arguments, "--scheduling-policy=priority")
    error_message = "vLLM arguments: drain, quantisation, priority"
  }

  assert {
    condition     = contains(module.replica_user_data.vllm_arguments, "support=/models/lora/2222222222222222")
    error_message = "vLLM arguments: adapters"
  }
}

run "alarms_and_scaling" {
  command = plan

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.pool)) == toset(["no-healthy-replica", "gpu-xid", "queue", "tunnel-down", "report-backlog", "gate-a-silent", "gate-b-silent"])
    error_message = "alarms: all of them"
  }

  assert {
    condition     = alltrue([for name in ["no-healthy-replica", "tunnel-down"] : aws_cloudwatch_metric_alarm.pool[name].treat_missing_data == "breaching"])
    error_message = "alarms: silence of the gates is an alarm"
  }

  # 32 places, 70 % busy, 4 of 6 replicas: 14.93.
  assert {
    condition     = abs(aws_autoscaling_policy.requests.target_tracking_configuration[0].target_value - 14.9333) < 0.001
    error_message = "target: keeps the headroom free at the peak"
  }

  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.node : group.retention_in_days == 30 && group.kms_key_id == output.kms_key_arn])
    error_message = "logs: kept for a time, encrypted"
  }
}

run "paused" {
  command = plan

  variables {
    paused = true
  }

  assert {
    condition     = aws_autoscaling_group.replica.max_size == 0 && alltrue([for group in aws_autoscaling_group.gate : group.max_size == 0]) && !aws_cloudwatch_metric_alarm.pool["queue"].actions_enabled
    error_message = "paused: nothing runs, nobody is woken"
  }
}

run "schedule_and_forecast" {
  command = plan

  variables {
    schedules = { morning = { recurrence = "0 8 * * 1-5", min_replicas = 3 } }
    scaling   = { forecast = "only" }
  }

  assert {
    condition     = aws_autoscaling_schedule.replica["morning"].min_size == 5 && aws_autoscaling_policy.forecast[0].predictive_scaling_configuration[0].mode == "ForecastOnly"
    error_message = "schedule: with headroom; forecast: as asked"
  }
}

run "pool_is_what_the_registry_takes" {
  command = plan

  assert {
    condition     = output.pool.models == [{ model = "llama-3.1-8b", concurrencyPerReplica = 32 }, { model = "support", concurrencyPerReplica = 32 }] && output.pool.gates == tolist(["gate-us-east.example.com"])
    error_message = "pool: models and gates"
  }
}
