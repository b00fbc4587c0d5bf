# Two roles, each with what its scripts in user-data/ call, and nothing else. AWS's ready-made policy for sessions
# is not used: it lets a node read every parameter of the account.

locals {
  # The names are known before the groups are: the roles come first.
  replica_group_name = "${local.name}-replica"
  gate_group_names   = { for place in ["a", "b"] : place => "${local.name}-gate-${place}" }
  group_arn_prefix   = "arn:${local.partition}:autoscaling:${local.aws_region}:${local.account_id}:autoScalingGroup:*:autoScalingGroupName"
  parameter_arns = [
    for name in [var.tunnel_token_parameter, var.gate_secret_parameter] :
    "arn:${local.partition}:ssm:${local.aws_region}:${local.account_id}:parameter${name}"
  ]
  # Through a local: a policy that names a resource which does not exist yet would be read only in the apply, and no
  # plan would show it.
  log_group_arns = { for name, group in aws_cloudwatch_log_group.node : name => group.arn }
  image_account  = coalesce(var.images.account_id, local.account_id)
  repository_arns = distinct([
    for image in [var.images.vllm, var.images.dcgm] :
    "arn:${local.partition}:ecr:${local.aws_region}:${local.image_account}:repository/${image.repository}"
  ])
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# What both kinds of nodes do. These actions know no resources, so "*" is the only possible one.
data "aws_iam_policy_document" "node" {
  statement {
    sid = "Sessions"
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [local.metric_space]
    }
  }
}

data "aws_iam_policy_document" "replica" {
  source_policy_documents = [data.aws_iam_policy_document.node.json]

  statement {
    sid       = "Weights"
    actions   = ["s3:GetObject"]
    resources = [for prefix in local.weight_prefixes : "${module.artifacts.bucket.arn}/${prefix}/*"]
  }

  statement {
    sid       = "WeightsList"
    actions   = ["s3:ListBucket"]
    resources = [module.artifacts.bucket.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [for prefix in local.weight_prefixes : "${prefix}/*"]
    }
  }

  statement {
    sid       = "DecryptWeights"
    actions   = ["kms:Decrypt"]
    resources = [module.artifacts.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.aws_region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "Images"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = local.repository_arns
  }

  statement {
    sid       = "ImageLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Lifecycle"
    actions   = ["autoscaling:CompleteLifecycleAction", "autoscaling:SetInstanceHealth"]
    resources = ["${local.group_arn_prefix}/${local.replica_group_name}"]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${local.log_group_arns.replica}:*"]
  }
}

data "aws_iam_policy_document" "gate" {
  source_policy_documents = [data.aws_iam_policy_document.node.json]

  statement {
    sid       = "Secrets"
    actions   = ["ssm:GetParameter"]
    resources = local.parameter_arns
  }

  statement {
    sid       = "DecryptSecrets"
    actions   = ["kms:Decrypt"]
    resources = concat([module.artifacts.kms_key_arn], var.parameter_key_arns)

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.aws_region}.amazonaws.com", "ssm.${local.aws_region}.amazonaws.com"]
    }
  }

  statement {
    sid     = "Programs"
    actions = ["s3:GetObject"]
    resources = [
      for program in [var.gate.bundle, var.gate.node, var.gate.cloudflared] : "${module.artifacts.bucket.arn}/${program.key}"
    ]
  }

  # The discovery of replicas, and whether one is about to go. AWS knows no resources for these.
  statement {
    sid       = "Discovery"
    actions   = ["autoscaling:DescribeAutoScalingInstances", "ec2:DescribeInstances"]
    resources = ["*"]
  }

  statement {
    sid       = "Lifecycle"
    actions   = ["autoscaling:CompleteLifecycleAction", "autoscaling:SetInstanceHealth"]
    resources = [for name in values(local.gate_group_names) : "${local.group_arn_prefix}/${name}"]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${local.log_group_arns.gate}:*"]
  }
}

locals {
  node_policies = {
    gate    = data.aws_iam_policy_document.gate.json
    replica = data.aws_iam_policy_document.replica.json
  }
}

resource "aws_iam_role" "node" {
  for_each = local.node_policies

  name_prefix          = "${local.name}-${each.key}-"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn

  tags = local.tags
}

resource "aws_iam_role_policy" "node" {
  for_each = local.node_policies

  name   = "node"
  role   = aws_iam_role.node[each.key].id
  policy = each.value
}

resource "aws_iam_instance_profile" "node" {
  for_each = local.node_policies

  name_prefix = "${local.name}-${each.key}-"
  role        = aws_iam_role.node[each.key].name

  tags = local.tags
}
