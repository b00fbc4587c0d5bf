/** Inputs of the two user-data modules: one pool as gpu-origin would give it to them. */

const digest = (digit: string) => digit.repeat(64);
const shared = {
  aws_region: "us-east-1",
  bucket: "meridian-artifacts",
  dcgm_port: 9400,
  engine_port: 8000,
  hooks: { launch: "serving", terminate: "drain" },
  log_group: "/meridian/test",
  metric_space: "Meridian/Pool",
  pool_id: "us-east-chat",
};

export const REPLICA_SAMPLE = {
  ...shared,
  gpus: 2,
  group_name: "meridian-us-east-chat-replica",
  images: {
    vllm: `registry.example.com/vllm@sha256:${digest("3")}`,
    dcgm: `registry.example.com/dcgm@sha256:${digest("4")}`,
  },
  model: {
    name: "llama-3.1-8b",
    revision: "0e9e39f2",
    weights: { prefix: "models/llama", manifest_sha256: digest("1"), size_gib: 15 },
    quantisation: "int4",
    checkpoint_format: "awq_marlin",
    tensor_parallel_size: 2,
    pipeline_parallel_size: 1,
    max_model_len: 16_384,
    memory_share: 0.9,
    max_num_seqs: 64,
    queue_limit: 128,
    priority_scheduling: true,
    drain_seconds: 900,
    tool_call_parser: "hermes",
    reasoning_parser: null,
    lora: {
      max_rank: 16,
      max_loaded: 2,
      adapters: [{ name: "support", prefix: "lora/support", manifest_sha256: digest("2") }],
    },
  },
  registry: "registry.example.com",
  warmup_seconds: 446,
};

export const GATE_SAMPLE = {
  ...shared,
  concurrency: 32,
  drain_seconds: 120,
  edge_url: "https://api.example.com",
  gate_name: "us-east-chat-a",
  gate_port: 9001,
  gate_secret_parameter: "/meridian/us-east-chat/gate-secrets",
  group_name: "meridian-us-east-chat-gate-a",
  programs: {
    bundle: { key: "programs/gate.mjs", sha256: digest("5") },
    node: { key: "programs/node.tar.xz", sha256: digest("6") },
    cloudflared: { key: "programs/cloudflared", sha256: digest("7") },
  },
  replica_tag: { key: "meridian:replica-of", value: "us-east-chat" },
  tunnel_token_parameter: "/meridian/us-east-chat/tunnel-token",
};
