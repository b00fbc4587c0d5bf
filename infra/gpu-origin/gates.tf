# Two gates, each alone in a scaling group of one, in a zone of its own: a gate that dies comes back by itself, and
# both have names that stay.

data "aws_ssm_parameter" "gate_ami" {
  count = var.ami_ids.gate == null ? 1 : 0

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

locals {
  gate_ami   = var.ami_ids.gate != null ? var.ami_ids.gate : data.aws_ssm_parameter.gate_ami[0].insecure_value
  gate_names = { for place, group in local.gate_group_names : place => "${var.pool_id}-${place}" }
}

module "gate_user_data" {
  source   = "./user-data/gate"
  for_each = local.gate_names

  aws_region             = local.aws_region
  bucket                 = module.artifacts.bucket.name
  concurrency            = var.model.concurrency_per_replica
  dcgm_port              = local.dcgm_port
  drain_seconds          = var.gate.drain_seconds
  edge_url               = var.edge_url
  engine_port            = local.engine_port
  gate_name              = each.value
  gate_port              = local.gate_port
  gate_secret_parameter  = var.gate_secret_parameter
  group_name             = local.gate_group_names[each.key]
  hooks                  = { launch = "serving", terminate = "drain" }
  log_group              = aws_cloudwatch_log_group.node["gate"].name
  metric_space           = local.metric_space
  pool_id                = var.pool_id
  programs               = { bundle = var.gate.bundle, node = var.gate.node, cloudflared = var.gate.cloudflared }
  replica_tag            = local.replica_tag
  tunnel_token_parameter = var.tunnel_token_parameter
}

resource "aws_launch_template" "gate" {
  for_each = local.gate_names

  name_prefix            = "${local.name}-gate-${each.key}-"
  image_id               = local.gate_ami
  instance_type          = var.gate.instance_type
  user_data              = module.gate_user_data[each.key].user_data_base64
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.node["gate"].arn
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 20
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = module.artifacts.kms_key_arn
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  network_interfaces {
    associate_public_ip_address = false
    security_groups             = [aws_security_group.gate.id]
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.tags, { Name = "${local.name}-gate-${each.key}" })
  }

  tag_specifications {
    resource_type = "volume"
    tags          = local.tags
  }

  tags = local.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_autoscaling_group" "gate" {
  for_each = local.gate_group_names

  name                      = each.value
  vpc_zone_identifier       = [local.network.gate_subnet_ids[each.key == "a" ? 0 : 1]]
  min_size                  = local.running
  max_size                  = local.running
  health_check_type         = "EC2"
  health_check_grace_period = 300
  wait_for_capacity_timeout = "0"

  launch_template {
    id      = aws_launch_template.gate[each.key].id
    version = aws_launch_template.gate[each.key].latest_version
  }

  initial_lifecycle_hook {
    name                 = "serving"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    default_result       = "ABANDON"
    heartbeat_timeout    = 900
  }

  initial_lifecycle_hook {
    name                 = "drain"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    default_result       = "CONTINUE"
    heartbeat_timeout    = var.gate.drain_seconds + 180
  }

  # No instance_refresh here: it would replace both gates at once, one in each group. `infra/README.md` and
  # replace-gate in outputs.tf say how to roll them one after the other.

  dynamic "tag" {
    for_each = local.tags

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  depends_on = [aws_iam_role_policy.node]
}
