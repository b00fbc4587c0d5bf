# Replicas follow what waits, not what the CPU does. The gates publish both numbers each minute (metrics.sh):
#   RequestsOpen          running and waiting at all replicas, as this gate sent them
#   PredictedWaitSeconds  how long a new request would wait: those beyond the replicas' places, by Little's law
# A target is met by adding replicas fast and taking them away slowly; a replica that goes drains first.

locals {
  gate_metrics = {
    for pair in setproduct(keys(local.gate_names), ["RequestsOpen", "HealthyReplicas"]) :
    "${lower(pair[1])}_${pair[0]}" => { name = pair[1], gate = local.gate_names[pair[0]] }
  }
}

resource "aws_autoscaling_policy" "requests" {
  name                   = "requests-per-replica"
  autoscaling_group_name = aws_autoscaling_group.replica.name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    target_value = local.requests_per_replica

    customized_metric_specification {
      dynamic "metrics" {
        for_each = local.gate_metrics

        content {
          id          = metrics.key
          label       = "${metrics.value.name} ${metrics.value.gate}"
          return_data = false

          metric_stat {
            stat = "Average"

            metric {
              namespace   = local.metric_space
              metric_name = metrics.value.name

              dimensions {
                name  = "Pool"
                value = var.pool_id
              }

              dimensions {
                name  = "Gate"
                value = metrics.value.gate
              }
            }
          }
        }
      }

      metrics {
        id          = "replicas"
        label       = "Replicas that serve, as the better informed gate sees them"
        expression  = "MAX([FILL(healthyreplicas_a, 0), FILL(healthyreplicas_b, 0)])"
        return_data = false
      }

      # A gate that is gone sends nothing: its requests are 0, not unknown.
      metrics {
        id          = "per_replica"
        label       = "Running and waiting per replica"
        expression  = "(FILL(requestsopen_a, 0) + FILL(requestsopen_b, 0)) / IF(replicas > 0, replicas, 1)"
        return_data = true
      }
    }
  }
}

resource "aws_autoscaling_policy" "wait" {
  name                   = "predicted-wait"
  autoscaling_group_name = aws_autoscaling_group.replica.name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    target_value = var.scaling.predicted_wait_seconds

    customized_metric_specification {
      namespace   = local.metric_space
      metric_name = "PredictedWaitSeconds"
      # Each gate predicts for what it sends; the worse prediction counts.
      statistic = "Maximum"

      metric_dimension {
        name  = "Pool"
        value = var.pool_id
      }
    }
  }
}

# Load that comes every day at nine is met at nine, not at nine plus the time that weights take.
resource "aws_autoscaling_policy" "forecast" {
  count = var.scaling.forecast == "off" ? 0 : 1

  name                   = "forecast"
  autoscaling_group_name = aws_autoscaling_group.replica.name
  policy_type            = "PredictiveScaling"

  predictive_scaling_configuration {
    mode                         = var.scaling.forecast == "scale" ? "ForecastAndScale" : "ForecastOnly"
    scheduling_buffer_time       = local.warmup_seconds
    max_capacity_breach_behavior = "HonorMaxCapacity"

    metric_specification {
      target_value = local.requests_per_replica

      customized_load_metric_specification {
        metric_data_queries {
          id          = "load"
          expression  = "SUM(SEARCH('{${local.metric_space},Gate,Pool} MetricName=\"RequestsOpen\" Pool=\"${var.pool_id}\"', 'Average', 3600))"
          return_data = true
        }
      }

      customized_scaling_metric_specification {
        metric_data_queries {
          id          = "open"
          expression  = "SUM(SEARCH('{${local.metric_space},Gate,Pool} MetricName=\"RequestsOpen\" Pool=\"${var.pool_id}\"', 'Average', 300))"
          return_data = false
        }

        metric_data_queries {
          id          = "replicas"
          expression  = "MAX(SEARCH('{${local.metric_space},Gate,Pool} MetricName=\"HealthyReplicas\" Pool=\"${var.pool_id}\"', 'Average', 300))"
          return_data = false
        }

        metric_data_queries {
          id          = "per_replica"
          expression  = "open / replicas"
          return_data = true
        }
      }

      customized_capacity_metric_specification {
        metric_data_queries {
          id          = "capacity"
          expression  = "MAX(SEARCH('{AWS/AutoScaling,AutoScalingGroupName} MetricName=\"GroupInServiceInstances\" AutoScalingGroupName=\"${local.replica_group_name}\"', 'Average', 300))"
          return_data = true
        }
      }
    }
  }
}

resource "aws_autoscaling_schedule" "replica" {
  for_each = var.paused ? {} : var.schedules

  autoscaling_group_name = aws_autoscaling_group.replica.name
  scheduled_action_name  = each.key
  recurrence             = each.value.recurrence
  time_zone              = each.value.time_zone
  min_size               = each.value.min_replicas + var.capacity.headroom
  # -1 leaves as it is: what the policies want beyond the floor stays theirs.
  max_size         = -1
  desired_capacity = -1
}
