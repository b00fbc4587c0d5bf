#!/usr/bin/env bash
# After every end of vLLM, before the next start: unloads what is left on the GPUs, and takes less memory after a crash
# for want of it. When its API process is killed, vLLM's engine and workers live on and hold their memory
# (docs/vllm.md); removing the container ends them all.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

docker rm --force meridian-vllm >/dev/null 2>&1 || true

used_mib() {
  nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | sort -n | tail -1
}

for ((try = 0; try < UNLOAD_TRIES; try++)); do
  [ "$(used_mib)" -gt 1024 ] || break
  sleep 2
done
[ "$(used_mib)" -le 1024 ] || give_up "gpu-memory-stuck: $(used_mib) MiB in use without vLLM"

out_of_memory() {
  [ "${EXIT_STATUS:-0}" = 137 ] ||
    tail -c "+$(($(cat "$state/log-offset" 2>/dev/null || echo 0) + 1))" /var/log/meridian/vllm.log 2>/dev/null |
    grep -qE 'CUDA out of memory|OutOfMemoryError'
}

if [ "${SERVICE_RESULT:-success}" != success ] && out_of_memory; then
  share=$(cat "$state/memory-share" 2>/dev/null || echo "$MEMORY_SHARE")
  # Three steps down at most: below that the model would start and have no room for its cache.
  awk -v share="$share" -v first="$MEMORY_SHARE" 'BEGIN { next_share = share - 0.03; floor = first - 0.09
    printf "%.2f", next_share < floor ? floor : next_share }' >"$state/memory-share"
  say "out-of-memory: next start with a memory share of $(cat "$state/memory-share")"
fi
