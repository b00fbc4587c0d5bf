import { createHash } from "node:crypto";
import type { Case } from "./sandbox.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const MANIFEST = `${sha256("weights")}  model.safetensors\n${sha256("config")}  sub dir/config.json\n`;
const PIN = sha256(MANIFEST);
const FETCH = `$bin/fetch-weights.sh models/llama ${PIN} /opt/dlami/nvme/models/base`;

const weights = {
  "s3/models/llama/SHA256SUMS": MANIFEST,
  "s3/models/llama/model.safetensors": "weights",
  "s3/models/llama/sub dir/config.json": "config",
};
const gpus = { gpus: "GPU-1\nGPU-2\n" };
const OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB";

const preparing: readonly Case[] = [
  {
    name: "replica prepared",
    role: "replica",
    world: { ...weights, ...gpus },
    run: `echo "models/llama ${PIN} models/base" >/opt/meridian/weights.list
$bin/prepare.sh; ls /opt/dlami/nvme/models/base`,
    status: 0,
    prints: [/weights models\/llama are complete/, /prepared/, /model\.safetensors/],
    calls: [
      /docker login --username AWS --password-stdin/,
      /docker pull .*vllm@sha256:3{64}/,
      /docker pull .*dcgm@sha256:4{64}/,
    ],
    never: [/registry-password/],
  },
  {
    name: "GPU absent",
    role: "replica",
    world: { ...weights, gpus: "GPU-1\n" },
    run: "$bin/prepare.sh",
    status: 1,
    prints: [/gpu-absent: 1 of 2 GPUs/],
    calls: [/set-instance-health --instance-id i-0123456789abcdef0 --health-status Unhealthy/],
    never: [/docker/],
  },
  {
    name: "NVMe absent",
    role: "replica",
    world: { ...gpus, "no-nvme": "" },
    run: "$bin/prepare.sh",
    status: 1,
    prints: [/nvme-absent/],
  },
  {
    name: "tries again, then gives up",
    role: "replica",
    world: { ...gpus, "no-nvme": "" },
    run: "$bin/retry.sh prepare",
    status: 1,
    prints: [/try 1 failed/, /try 3 failed/, /prepare failed 4 times/],
    calls: [/sleep 20\n/, /sleep 40\n/, /sleep 80\n/],
  },
  {
    name: "a service that does not stay up",
    role: "replica",
    world: {},
    run: "$bin/unhealthy.sh meridian-vllm.service",
    status: 0,
    calls: [/set-instance-health .*Unhealthy --no-should-respect-grace-period/],
  },
];

const loading: readonly Case[] = [
  {
    name: "weights fetched once",
    role: "replica",
    world: weights,
    run: `${FETCH}; ${FETCH}`,
    status: 0,
    prints: [/are complete/, /are here/],
    never: [/(s3 sync[\s\S]*){2}/],
  },
  {
    name: "weights corrupt",
    role: "replica",
    world: { ...weights, "s3/models/llama/model.safetensors": "forged" },
    run: `${FETCH} || code=$?; test ! -e /opt/dlami/nvme/models/base && exit $code`,
    status: 1,
    prints: [/weights-corrupt, once more: model.safetensors/, /weights-corrupt: model.safetensors/],
  },
  {
    name: "weights damaged on their way",
    role: "replica",
    world: { ...weights, "damage-once": "model.safetensors" },
    run: `${FETCH}; cat /opt/dlami/nvme/models/base/model.safetensors`,
    status: 0,
    prints: [/once more/, /are complete/, /weights/],
  },
  {
    name: "weights missing",
    role: "replica",
    world: { "s3/models/llama/SHA256SUMS": MANIFEST, "s3/models/llama/model.safetensors": "weights" },
    run: FETCH,
    status: 1,
    prints: [/weights-corrupt: sub dir\/config.json/],
  },
  {
    name: "manifest is another one",
    role: "replica",
    world: { ...weights, "s3/models/llama/SHA256SUMS": `${sha256("forged")}  model.safetensors\n` },
    run: FETCH,
    status: 1,
    prints: [/checksum of models\/llama\/SHA256SUMS is not the pinned one/],
    never: [/s3 sync/],
  },
  {
    name: "files that the manifest does not name",
    role: "replica",
    world: { ...weights, "s3/models/llama/modeling.py": "import os" },
    run: `${FETCH}; ls /opt/dlami/nvme/models/base; test ! -e /opt/dlami/nvme/models/base/modeling.py
test -e "/opt/dlami/nvme/models/base/sub dir/config.json"`,
    status: 0,
  },
];

const running: readonly Case[] = [
  {
    name: "vLLM starts",
    role: "replica",
    world: {},
    run: "$bin/vllm-start.sh",
    status: 0,
    calls: [
      /docker run --rm .*--pull never .*--entrypoint vllm registry\.example\.com\/vllm@sha256:3{64} serve \/models\/0e9e39f2\/base .*--shutdown-timeout=900/,
    ],
    never: [/memory-utilization.*memory-utilization/, /--network host/, /--privileged/],
  },
  {
    name: "restart after out of memory",
    role: "replica",
    world: {},
    run: `echo "old ${OOM}" >/var/log/meridian/vllm.log; $bin/vllm-start.sh
echo "${OOM}" >>/var/log/meridian/vllm.log
SERVICE_RESULT=exit-code EXIT_STATUS=1 $bin/vllm-stopped.sh; $bin/vllm-start.sh`,
    status: 0,
    prints: [/out-of-memory: next start with a memory share of 0\.87/],
    calls: [
      /docker run/,
      /docker rm --force meridian-vllm/,
      /docker run .*--gpu-memory-utilization=0\.9 .*--gpu-memory-utilization=0\.87/,
    ],
  },
  {
    name: "restart after another crash",
    role: "replica",
    world: {},
    run: `echo "old ${OOM}" >/var/log/meridian/vllm.log; $bin/vllm-start.sh
echo "Segmentation fault" >>/var/log/meridian/vllm.log
SERVICE_RESULT=exit-code EXIT_STATUS=139 $bin/vllm-stopped.sh; $bin/vllm-start.sh`,
    status: 0,
    calls: [/docker rm --force meridian-vllm/, /docker run/],
    never: [/memory-utilization.*memory-utilization/],
  },
  {
    name: "memory share has a floor",
    role: "replica",
    world: {},
    run: `$bin/vllm-start.sh
for crash in 1 2 3 4 5; do SERVICE_RESULT=exit-code EXIT_STATUS=137 $bin/vllm-stopped.sh; done`,
    status: 0,
    prints: [/0\.87/, /0\.84/, /0\.81/, /0\.81/, /0\.81/],
  },
  {
    name: "GPU memory stuck",
    role: "replica",
    world: { "memory-used": "4\n20000\n" },
    run: "SERVICE_RESULT=success $bin/vllm-stopped.sh",
    status: 0,
    prints: [/gpu-memory-stuck: 20000 MiB/],
    calls: [/sleep 2/, /set-instance-health .*Unhealthy/],
  },
  {
    name: "replica in service",
    role: "replica",
    world: { "up-after-sleep": "" },
    run: "$bin/serving.sh",
    status: 0,
    calls: [/sleep 5/, /complete-lifecycle-action --lifecycle-hook-name serving .*CONTINUE/],
  },
];

const drained = [
  /systemctl stop meridian-vllm/,
  /complete-lifecycle-action --lifecycle-hook-name drain .*CONTINUE/,
];

const ending: readonly Case[] = [
  {
    name: "scale-in drains",
    role: "replica",
    world: { "imds/autoscaling/target-lifecycle-state": "Terminated", "engine-up": "" },
    run: "$bin/watch.sh --once; $bin/watch.sh --once",
    status: 0,
    prints: [/drain: scale-in/, /drained/],
    calls: drained,
    never: [/(systemctl stop[\s\S]*){2}/],
  },
  {
    name: "Spot notice drains",
    role: "replica",
    world: { "imds/spot/instance-action": '{"action":"terminate"}', "engine-up": "" },
    run: "$bin/watch.sh --once",
    status: 0,
    prints: [/drain: spot-notice/],
    calls: drained,
  },
  {
    name: "nothing is wrong",
    role: "replica",
    world: { "imds/autoscaling/target-lifecycle-state": "InService", "engine-up": "" },
    run: "mkdir -p /run/meridian; touch /run/meridian/serving; $bin/watch.sh --once",
    status: 0,
    never: [/systemctl|set-instance-health/],
  },
  {
    name: "fatal GPU error",
    role: "replica",
    world: { kernel: "NVRM: Xid (PCI:0000:00:1e): 79, pid=1, GPU has fallen off the bus.\n" },
    run: "$bin/watch.sh --once",
    status: 0,
    prints: [/gpu-xid 79/, /unhealthy: gpu-xid 79/],
    calls: [/set-instance-health .*Unhealthy/],
  },
  {
    name: "harmless GPU error",
    role: "replica",
    world: { kernel: "NVRM: Xid (PCI:0000:00:1e): 31, pid=1, MMU fault\n" },
    run: "$bin/watch.sh --once",
    status: 0,
    prints: [/gpu-xid 31/],
    never: [/set-instance-health/],
  },
  {
    name: "vLLM stays down",
    role: "replica",
    world: {},
    run: `mkdir -p /run/meridian; touch /run/meridian/serving; $bin/watch.sh --once
echo $(($(date +%s) - 500)) >/run/meridian/down-since; $bin/watch.sh --once`,
    status: 0,
    prints: [/unhealthy: vLLM has been down/],
    calls: [/set-instance-health .*Unhealthy/],
  },
];

export const REPLICA_CASES: readonly Case[] = [...preparing, ...loading, ...running, ...ending];
