#!/usr/bin/env bash
# GPUs, disk, images and weights: everything that vLLM needs before it starts.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

nvme=/opt/dlami/nvme

gpus() {
  nvidia-smi --query-gpu=uuid --format=csv,noheader | grep -c . || true
}

found=$(gpus)
if [ "$found" != "$GPUS" ]; then
  # A GPU that is missing at boot stays missing until the machine goes.
  give_up "gpu-absent: $found of $GPUS GPUs"
  die "gpu-absent"
fi

# Weights on the root disk would work, slowly, and fill it.
mountpoint -q "$nvme" || die "nvme-absent: no local disk at $nvme"

aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY" >/dev/null
for image in "$VLLM_IMAGE" "$DCGM_IMAGE"; do
  docker pull --quiet "$image"
done

while read -r prefix sha256 place; do
  /opt/meridian/bin/fetch-weights.sh "$prefix" "$sha256" "$nvme/$place"
done <"$base/weights.list"
say "prepared"
