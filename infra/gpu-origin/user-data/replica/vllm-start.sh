#!/usr/bin/env bash
# Starts vLLM in the foreground. Arguments come from Terraform, one per line, and meet no shell on their way.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

mapfile -t arguments <"$base/vllm.args"
# After a crash for want of memory the next start takes less (vllm-stopped.sh). The last one of two counts.
if [ -s "$state/memory-share" ]; then
  arguments+=("--gpu-memory-utilization=$(cat "$state/memory-share")")
fi
mkdir -p /opt/dlami/nvme/cache
stat -c %s /var/log/meridian/vllm.log >"$state/log-offset" 2>/dev/null || echo 0 >"$state/log-offset"

# A network of its own: with one metadata hop it cannot take the node's role. Shared memory is for tensor parallelism.
exec docker run --rm --name meridian-vllm --pull never --log-driver none --init \
  --gpus all --shm-size 16g --ulimit memlock=-1 --cap-drop ALL --security-opt no-new-privileges \
  --publish "$ENGINE_PORT:8000" \
  --volume /opt/dlami/nvme/models:/models:ro --volume /opt/dlami/nvme/cache:/cache \
  --env HOME=/cache --env HF_HUB_OFFLINE=1 --env VLLM_NO_USAGE_STATS=1 --env VLLM_MAX_N_SEQUENCES=8 \
  --entrypoint vllm "$VLLM_IMAGE" serve "${arguments[@]}"
