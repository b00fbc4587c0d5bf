# What a gate is told at boot. No provider: `terraform apply` in this folder renders it anywhere.

terraform {
  required_version = ">= 1.11.0"
}

locals {
  # src/gate/config.ts is the schema; the checks read this document with it.
  gate_config = {
    pool    = var.pool_id
    gate    = var.gate_name
    listen  = { host = "127.0.0.1", port = var.gate_port }
    edgeUrl = var.edge_url
    # systemd puts the credential there, for the gate's eyes only.
    secretFile = "/run/credentials/meridian-gate.service/secrets"
    replicas = {
      aws = {
        region   = var.aws_region
        tag      = { key = var.replica_tag.key, value = var.replica_tag.value }
        port     = var.engine_port
        dcgmPort = var.dcgm_port
      }
    }
    concurrencyPerReplica = var.concurrency
    drainMs               = var.drain_seconds * 1000
  }

  settings = {
    AWS_REGION             = var.aws_region
    BUCKET                 = var.bucket
    CONCURRENCY            = var.concurrency
    GATE_NAME              = var.gate_name
    GATE_PORT              = var.gate_port
    GATE_SECRET_PARAMETER  = var.gate_secret_parameter
    GROUP_NAME             = var.group_name
    LAUNCH_HOOK            = var.hooks.launch
    METRIC_SPACE           = var.metric_space
    POLL_SECONDS           = 5
    POOL_ID                = var.pool_id
    RETRIES                = 5
    RETRY_SECONDS          = 10
    TERMINATE_HOOK         = var.hooks.terminate
    TUNNEL_TOKEN_PARAMETER = var.tunnel_token_parameter
    UNITS                  = "meridian-watch.service meridian-gate.service meridian-cloudflared.service meridian-metrics.timer meridian-serving.service"
  }

  unit_values = {
    drain_seconds       = var.drain_seconds
    gate_stop_seconds   = var.drain_seconds + 30
    tunnel_stop_seconds = var.drain_seconds + 15
  }

  scripts = merge(
    { for name in ["lib", "boot", "retry", "unhealthy"] : name => file("${path.module}/../shared/${name}.sh") },
    { for name in ["prepare", "serving", "watch", "metrics"] : name => file("${path.module}/${name}.sh") },
  )

  units = merge(
    { "meridian-unhealthy@.service" = file("${path.module}/../shared/meridian-unhealthy@.service") },
    { for name in setunion(fileset(path.module, "*.service"), fileset(path.module, "*.timer")) : name => templatefile("${path.module}/${name}", local.unit_values) },
  )

  log_files = ["prepare", "gate", "cloudflared", "watch", "metrics"]

  documents = {
    "settings.env" = join("", [for name, value in local.settings : "${name}='${value}'\n"])
    "gate.json"    = "${jsonencode(local.gate_config)}\n"
    "programs.list" = join("", [
      for file, program in { "gate.mjs" = var.programs.bundle, "node.tar" = var.programs.node, "cloudflared" = var.programs.cloudflared } :
      "${file} ${program.key} ${program.sha256}\n"
    ])
    "logs.json" = jsonencode({
      logs = { logs_collected = { files = { collect_list = [
        for name in local.log_files : {
          file_path = "/var/log/meridian/${name}.log", log_group_name = var.log_group, log_stream_name = "{instance_id}/${name}"
        }
      ] } } }
    })
  }

  user_data = join("\n", ["#cloud-config", jsonencode({
    write_files = concat(
      [for name, text in local.documents : { path = "/opt/meridian/${name}", content = text, owner = "root:root", permissions = "0644" }],
      [for name, text in local.scripts : { path = "/opt/meridian/bin/${name}.sh", content = text, owner = "root:root", permissions = "0755" }],
      [for name, text in local.units : { path = "/etc/systemd/system/${name}", content = text, owner = "root:root", permissions = "0644" }],
      [{ path = "/etc/logrotate.d/meridian", content = file("${path.module}/../shared/logrotate.conf"), owner = "root:root", permissions = "0644" }],
    )
    runcmd = [["/opt/meridian/bin/boot.sh"]]
  }), ""])
}
