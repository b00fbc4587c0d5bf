# What a replica is told at boot. No provider: `terraform apply` in this folder renders it anywhere.

terraform {
  required_version = ">= 1.11.0"
}

locals {
  # INT8 and INT4 come from a checkpoint that was quantised before; FP8 is made while loading.
  quantisation_arguments = {
    fp16 = ["--dtype=auto"]
    fp8  = ["--quantization=fp8"]
    int8 = ["--quantization=${var.model.checkpoint_format}"]
    int4 = ["--quantization=${var.model.checkpoint_format}"]
  }

  # Revisions lie side by side, so that a rollback finds its weights still there.
  model_place = "models/${var.model.revision}/base"
  adapters    = try(var.model.lora.adapters, [])
  adapter_places = [
    for adapter in local.adapters : "models/lora/${substr(adapter.manifest_sha256, 0, 16)}"
  ]

  vllm_arguments = concat(
    [
      "/${local.model_place}",
      "--served-model-name=${var.model.name}",
      "--host=0.0.0.0",
      "--port=8000",
      "--tensor-parallel-size=${var.model.tensor_parallel_size}",
      "--pipeline-parallel-size=${var.model.pipeline_parallel_size}",
      "--max-model-len=${var.model.max_model_len}",
      "--max-num-seqs=${var.model.max_num_seqs}",
      # Counts running and waiting; above it vLLM answers 503, and the edge goes elsewhere.
      "--max-num-queued-reqs=${var.model.queue_limit}",
      "--gpu-memory-utilization=${var.model.memory_share}",
      # Without it vLLM cuts streams at SIGTERM, or leaves them hanging.
      "--shutdown-timeout=${var.model.drain_seconds}",
      # Cached tokens are billed differently; only this flag tells how many there were.
      "--enable-prompt-tokens-details",
    ],
    local.quantisation_arguments[var.model.quantisation],
    var.model.priority_scheduling ? ["--scheduling-policy=priority"] : [],
    var.model.tool_call_parser == null ? [] : ["--enable-auto-tool-choice", "--tool-call-parser=${var.model.tool_call_parser}"],
    var.model.reasoning_parser == null ? [] : ["--reasoning-parser=${var.model.reasoning_parser}"],
    length(local.adapters) == 0 ? [] : concat(
      ["--enable-lora", "--max-loras=${var.model.lora.max_loaded}", "--max-lora-rank=${var.model.lora.max_rank}", "--lora-modules"],
      [for index, adapter in local.adapters : "${adapter.name}=/${local.adapter_places[index]}"],
    ),
  )

  weights = concat(
    ["${var.model.weights.prefix} ${var.model.weights.manifest_sha256} ${local.model_place}"],
    [for index, adapter in local.adapters : "${adapter.prefix} ${adapter.manifest_sha256} ${local.adapter_places[index]}"],
  )

  settings = {
    AWS_REGION     = var.aws_region
    BUCKET         = var.bucket
    DCGM_IMAGE     = var.images.dcgm
    ENGINE_PORT    = var.engine_port
    GPUS           = var.gpus
    GROUP_NAME     = var.group_name
    LAUNCH_HOOK    = var.hooks.launch
    MEMORY_SHARE   = var.model.memory_share
    POLL_SECONDS   = 5
    POOL_ID        = var.pool_id
    REGISTRY       = var.registry
    RETRIES        = 4
    RETRY_SECONDS  = 20
    TERMINATE_HOOK = var.hooks.terminate
    UNITS          = "meridian-watch.service meridian-vllm.service meridian-dcgm.service meridian-serving.service"
    UNLOAD_TRIES   = 30
    VLLM_IMAGE     = var.images.vllm
    WARMUP_SECONDS = var.warmup_seconds
  }

  unit_values = {
    dcgm_image = var.images.dcgm
    dcgm_port  = var.dcgm_port
    # Each one waits longer than the one inside it.
    docker_stop_seconds = var.model.drain_seconds + 30
    unit_stop_seconds   = var.model.drain_seconds + 60
    serving_seconds     = var.warmup_seconds + 540
  }

  scripts = merge(
    { for name in ["lib", "boot", "retry", "unhealthy"] : name => file("${path.module}/../shared/${name}.sh") },
    { for name in ["prepare", "fetch-weights", "vllm-start", "vllm-stopped", "serving", "drain", "watch"] : name => file("${path.module}/${name}.sh") },
  )

  units = merge(
    { "meridian-unhealthy@.service" = file("${path.module}/../shared/meridian-unhealthy@.service") },
    { for name in fileset(path.module, "*.service") : name => templatefile("${path.module}/${name}", local.unit_values) },
  )

  log_files = ["prepare", "vllm", "dcgm", "watch"]

  documents = {
    "settings.env" = join("", [for name, value in local.settings : "${name}='${value}'\n"])
    "vllm.args"    = "${join("\n", local.vllm_arguments)}\n"
    "weights.list" = "${join("\n", local.weights)}\n"
    "logs.json" = jsonencode({
      logs = { logs_collected = { files = { collect_list = [
        for name in local.log_files : {
          file_path = "/var/log/meridian/${name}.log", log_group_name = var.log_group, log_stream_name = "{instance_id}/${name}"
        }
      ] } } }
    })
  }

  # cloud-init reads YAML, of which JSON is a part: no indentation can go wrong.
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
