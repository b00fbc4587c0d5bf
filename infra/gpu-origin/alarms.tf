# What somebody must look at. Nothing heard counts as bad where silence can mean that nobody is left to speak.

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = module.artifacts.kms_key_arn

  tags = local.tags
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarms.emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

# The driver reports a GPU error as "NVRM: Xid"; watch.sh writes one line for each into this log.
resource "aws_cloudwatch_log_metric_filter" "xid" {
  name           = "${local.name}-xid"
  log_group_name = aws_cloudwatch_log_group.node["replica"].name
  pattern        = "\"gpu-xid\""

  metric_transformation {
    namespace     = local.metric_space
    name          = "GpuXidErrors-${var.pool_id}"
    value         = "1"
    default_value = "0"
  }
}

locals {
  alarm_actions = concat([aws_sns_topic.alarms.arn], var.alarms.topic_arns)

  alarms = {
    no-healthy-replica = {
      why       = "No replica serves. See the replica log group; the group's activity says whether AWS has capacity."
      metric    = "HealthyReplicas", dimensions = { Pool = var.pool_id }
      statistic = "Maximum", comparison = "LessThanThreshold", threshold = 1
      minutes   = 2, missing = "breaching"
    }
    gpu-xid = {
      why       = "A GPU reported an error. Fatal ones replace the replica by themselves; look whether they repeat."
      metric    = "GpuXidErrors-${var.pool_id}", dimensions = {}
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      minutes   = 1, missing = "notBreaching"
    }
    queue = {
      why       = "A new request would wait too long: the pool is at its maximum, or AWS has no capacity."
      metric    = "PredictedWaitSeconds", dimensions = { Pool = var.pool_id }
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = var.alarms.wait_seconds
      minutes   = 5, missing = "notBreaching"
    }
    tunnel-down = {
      why       = "No connection of the tunnel is up: no request reaches the region."
      metric    = "TunnelConnections", dimensions = { Pool = var.pool_id }
      statistic = "Maximum", comparison = "LessThanThreshold", threshold = 1
      minutes   = 2, missing = "breaching"
    }
    report-backlog = {
      why       = "The edge does not take the gates' usage reports: bills are late and, if it lasts, lost."
      metric    = "ReportBacklog", dimensions = { Pool = var.pool_id }
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 10000
      minutes   = 5, missing = "notBreaching"
    }
  }

  # One gate of two may be gone without anybody noticing: the other carries on.
  gate_alarms = {
    for place, gate in local.gate_names : "gate-${place}-silent" => {
      why       = "Gate ${gate} has not spoken for five minutes. The other one carries the region alone."
      metric    = "TunnelConnections", dimensions = { Pool = var.pool_id, Gate = gate }
      statistic = "Maximum", comparison = "LessThanThreshold", threshold = 1
      minutes   = 5, missing = "breaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "pool" {
  for_each = merge(local.alarms, local.gate_alarms)

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.why
  namespace           = local.metric_space
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  # A pool that is paused is silent on purpose.
  actions_enabled = !var.paused
  alarm_actions   = local.alarm_actions
  ok_actions      = local.alarm_actions

  tags = local.tags
}
