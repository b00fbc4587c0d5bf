# The GPU replicas: one scaling group over several instance types with the same number of GPUs.

# Driver, container toolkit, docker, SSM and CloudWatch agents; NVMe disks are joined under /opt/dlami/nvme.
data "aws_ssm_parameter" "replica_ami" {
  count = var.ami_ids.replica == null ? 1 : 0

  name = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
}

module "replica_user_data" {
  source = "./user-data/replica"

  aws_region     = local.aws_region
  bucket         = module.artifacts.bucket.name
  engine_port    = local.engine_port
  dcgm_port      = local.dcgm_port
  gpus           = var.model.tensor_parallel_size * var.model.pipeline_parallel_size
  group_name     = local.replica_group_name
  hooks          = { launch = "serving", terminate = "drain" }
  images         = { for name, image in { vllm = var.images.vllm, dcgm = var.images.dcgm } : name => "${local.registry}/${image.repository}@${image.digest}" }
  registry       = local.registry
  log_group      = aws_cloudwatch_log_group.node["replica"].name
  metric_space   = local.metric_space
  model          = var.model
  pool_id        = var.pool_id
  warmup_seconds = local.warmup_seconds
}

locals {
  registry    = "${local.image_account}.dkr.ecr.${local.aws_region}.amazonaws.com"
  replica_ami = var.ami_ids.replica != null ? var.ami_ids.replica : data.aws_ssm_parameter.replica_ami[0].insecure_value
}

resource "aws_launch_template" "replica" {
  name_prefix            = "${local.name}-replica-"
  image_id               = local.replica_ami
  user_data              = module.replica_user_data.user_data_base64
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.node["replica"].arn
  }

  block_device_mappings {
    device_name = "/dev/sda1"

    ebs {
      volume_size           = 150
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = module.artifacts.kms_key_arn
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
    # One hop: a container with its own network cannot take the node's role.
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  network_interfaces {
    associate_public_ip_address = false
    security_groups             = [aws_security_group.replica.id]
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.tags, { Name = "${local.name}-replica", (local.replica_tag.key) = local.replica_tag.value })
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

resource "aws_autoscaling_group" "replica" {
  name                = local.replica_group_name
  vpc_zone_identifier = local.network.replica_subnet_ids
  min_size            = local.min_replicas * local.running
  max_size            = local.max_replicas * local.running

  # The node itself says when it is ill (watch.sh), since EC2 only knows whether the machine runs.
  health_check_type         = "EC2"
  health_check_grace_period = local.warmup_seconds
  default_instance_warmup   = local.warmup_seconds
  # A replacement is started when Spot warns of trouble, not when the replica is gone.
  capacity_rebalance        = true
  enabled_metrics           = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupTerminatingInstances"]
  termination_policies      = ["OldestLaunchTemplate", "Default"]
  wait_for_capacity_timeout = "0"

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = var.capacity.on_demand_base
      on_demand_percentage_above_base_capacity = var.capacity.on_demand_percent_above_base
      on_demand_allocation_strategy            = "prioritized"
      spot_allocation_strategy                 = var.capacity.spot_strategy
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.replica.id
        version            = aws_launch_template.replica.latest_version
      }

      dynamic "override" {
        for_each = var.instance_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  # Hooks are part of the group, not resources of their own: the first instance must already meet them.
  initial_lifecycle_hook {
    name                 = "serving"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    # In service means: vLLM answers. What never gets there is thrown away and tried again.
    default_result    = "ABANDON"
    heartbeat_timeout = min(7200, local.warmup_seconds + 600)
  }

  initial_lifecycle_hook {
    name                 = "drain"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    default_result       = "CONTINUE"
    heartbeat_timeout    = var.model.drain_seconds + 240
  }

  instance_refresh {
    strategy = "Rolling"

    preferences {
      # A new replica is in service before an old one goes, and what does not start is rolled back.
      min_healthy_percentage = 100
      max_healthy_percentage = 110
      instance_warmup        = local.warmup_seconds
      auto_rollback          = true
    }
  }

  dynamic "tag" {
    for_each = local.tags

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  lifecycle {
    # Desired capacity belongs to the scaling policies.
    ignore_changes = [desired_capacity]

    precondition {
      condition     = local.max_replicas >= var.capacity.peak_replicas + var.capacity.headroom
      error_message = "The group cannot hold the peak and its headroom."
    }
  }

  depends_on = [aws_iam_role_policy.node]
}
