#!/usr/bin/env bash
# What all scripts of a node share. Settings hold names and numbers, never a secret.
set -euo pipefail

base=/opt/meridian
state=/run/meridian
# shellcheck disable=SC1091 # written at boot
. "$base/settings.env"
export AWS_REGION AWS_DEFAULT_REGION="$AWS_REGION" AWS_PAGER="" AWS_MAX_ATTEMPTS=5
mkdir -p "$state"

say() {
  printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"
}

die() {
  say "failed: $*" >&2
  exit 1
}

# One item of the instance's metadata; fails where there is none. Headers go through a pipe: arguments can be read
# by every process of the machine.
imds() {
  local url=http://169.254.169.254/latest token
  token=$(curl -sf -m 2 -X PUT -H 'x-aws-ec2-metadata-token-ttl-seconds: 60' "$url/api/token") || return 1
  printf 'x-aws-ec2-metadata-token: %s\n' "$token" | curl -sf -m 2 -H @- "$url/meta-data/$1"
}

instance_id() {
  [ -s "$state/instance-id" ] || imds instance-id >"$state/instance-id"
  cat "$state/instance-id"
}

# Lets the scaling group go on. Without a waiting hook (a unit started by hand) there is nothing to go on with.
finish_hook() {
  aws autoscaling complete-lifecycle-action --lifecycle-hook-name "$1" --auto-scaling-group-name "$GROUP_NAME" \
    --lifecycle-action-result CONTINUE --instance-id "$(instance_id)" || say "no hook $1 was waiting"
}

# The scaling group replaces this machine.
give_up() {
  say "unhealthy: $*"
  aws autoscaling set-instance-health --instance-id "$(instance_id)" --health-status Unhealthy \
    --no-should-respect-grace-period
}

# Downloads a pinned object. What does not have its checksum is removed, never run.
fetch_pinned() {
  local key=$1 sha256=$2 target=$3
  aws s3 cp --only-show-errors "s3://$BUCKET/$key" "$target"
  printf '%s  %s\n' "$sha256" "$target" | sha256sum --check --quiet --strict || {
    rm -f "$target"
    die "checksum of $key is not the pinned one"
  }
}

leaving() {
  [ "$(imds autoscaling/target-lifecycle-state || true)" = Terminated ]
}
