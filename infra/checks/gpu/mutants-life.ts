import type { Mutant } from "../check.ts";
import { mutant } from "./mutant.ts";

/** What makes a pool fail later: hooks, spelling, capacity, alarms; and mistakes around the module. */
const M = "infra/gpu-origin";
const POLICY = "gpu:plan-policies";
const PLAN = "gpu:test:plan";

const LIFE: readonly Mutant[] = [
  mutant(
    "no drain hook",
    `${M}/replicas.tf`,
    'name                 = "drain"\n    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"',
    'name                 = "drain"\n    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"',
    POLICY,
    /replica: hook: none for EC2_INSTANCE_TERMINATING/,
  ),
  mutant(
    "drain hook too short",
    `${M}/replicas.tf`,
    "var.model.drain_seconds + 240",
    "60",
    PLAN,
    /drain hook/,
  ),
  mutant(
    "misspelt strategy",
    `${M}/replicas.tf`,
    '= "prioritized"',
    '= "prioritised"',
    POLICY,
    /enumeration: .*on_demand_allocation_strategy is prioritised/,
  ),
  mutant(
    "misspelt Spot strategy",
    `${M}/variables-capacity.tf`,
    'optional(string, "price-capacity-optimized")',
    'optional(string, "price-capacity-optimised")',
    PLAN,
    /spot_strategy/,
  ),
  mutant(
    "both gates in one zone",
    `${M}/variables-region.tf`,
    "length(distinct(var.new_network.zones)) >= 2",
    "length(distinct(var.new_network.zones)) >= 1",
    "gpu:test:validation",
    /expected failure/,
  ),
  mutant(
    "misspelt argument",
    `${M}/replicas.tf`,
    "capacity_rebalance ",
    "capacity_rebalanse ",
    "gpu:validate",
    /capacity_rebalanse/,
  ),
  mutant(
    "headroom lost",
    `${M}/main.tf`,
    "max_replicas = var.capacity.peak_replicas + var.capacity.headroom +",
    "max_replicas = var.capacity.peak_replicas +",
    PLAN,
    /headroom|Resource precondition/,
  ),
  mutant(
    "headroom used up",
    `${M}/main.tf`,
    "* var.scaling.busy_share *\n",
    "* var.scaling.busy_share /\n",
    PLAN,
    /target: keeps the headroom/,
  ),
  mutant(
    "replicas not found",
    `${M}/replicas.tf`,
    "(local.replica_tag.key) = local.replica_tag.value",
    '"meridian:replica" = var.pool_id',
    PLAN,
    /discovery|Invalid index|does not have/,
  ),
  mutant(
    "cold replicas count",
    `${M}/replicas.tf`,
    "default_instance_warmup   = local.warmup_seconds",
    "default_instance_warmup   = 30",
    PLAN,
    /warm-up/,
  ),
  mutant(
    "silence is no alarm",
    `${M}/alarms.tf`,
    'missing = "breaching"',
    'missing = "notBreaching"',
    PLAN,
    /silence of the gates/,
  ),
  mutant(
    "layout",
    `${M}/budget.tf`,
    '  budget_type  = "COST"',
    '  budget_type = "COST"',
    "gpu:fmt",
    /budget\.tf/,
  ),
];

const K = "infra/kubernetes";
const KUBE = "gpu:kubernetes";

const REST: readonly Mutant[] = [
  mutant(
    "nested key misspelt",
    "infra/examples/startup/main.tf",
    "headroom = 0",
    "headrom = 0",
    "gpu:nested-keys",
    /capacity\.headrom/,
  ),
  mutant(
    "tfvars key misspelt",
    "infra/examples/single-region/terraform.tfvars.example",
    "manifest_sha256",
    "manifest_sha265",
    "gpu:nested-keys",
    /manifest_sha265/,
  ),
  mutant(
    "image by tag",
    `${K}/vllm.yaml`,
    `vllm-openai@sha256:${"3".repeat(64)}`,
    "vllm-openai:latest",
    KUBE,
    /not pinned/,
  ),
  mutant(
    "Service opens a port",
    `${K}/vllm.yaml`,
    "clusterIP: None",
    "type: LoadBalancer",
    KUBE,
    /opens a port/,
  ),
  mutant(
    "anybody reaches vLLM",
    `${K}/vllm.yaml`,
    "matchLabels: { app: gate }\n      ports",
    "{}\n      ports",
    KUBE,
    /lets anybody in/,
  ),
  mutant(
    "killed before drained",
    `${K}/vllm.yaml`,
    "terminationGracePeriodSeconds: 960",
    "terminationGracePeriodSeconds: 60",
    KUBE,
    /before it has drained/,
  ),
  mutant(
    "gates look elsewhere",
    `${K}/gate.yaml`,
    "vllm.meridian.svc",
    "engine.meridian.svc",
    KUBE,
    /which no Service is/,
  ),
  mutant(
    "secret in a manifest",
    `${K}/gate.yaml`,
    "- name: POD_NAME",
    '- { name: MERIDIAN_GATE_SECRETS, value: "x" }\n            - name: POD_NAME',
    KUBE,
    /secret in the manifest/,
  ),
];

export const LIFE_MUTANTS: readonly Mutant[] = [...LIFE, ...REST];
