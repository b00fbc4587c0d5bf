#!/usr/bin/env bash
# Looks every few seconds for what ends a replica: the scaling group, Spot, a broken GPU, a vLLM that stays down.
# With --once it looks once.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

# GPU errors after which only a new machine helps (NVIDIA's Xid catalogue): uncorrectable memory, failed row
# remapping, off the bus, uncontained memory error, dead firmware.
fatal_xids=" 48 64 79 95 119 120 "

look_at_gpus() {
  local line number
  journalctl -k -o cat --cursor-file="$state/kernel-cursor" --no-pager 2>/dev/null |
    sed -n 's/^.*NVRM: Xid ([^)]*): \([0-9]*\).*$/\1/p' | while read -r number; do
    # The alarm's filter looks for this word.
    line="gpu-xid $number"
    say "$line"
    [[ "$fatal_xids" != *" $number "* ]] || give_up "$line"
  done
}

# systemd restarts vLLM; what is still down after the time of a whole start will not come back.
look_at_engine() {
  [ -e "$state/serving" ] || return 0
  if curl -sf -m 5 -o /dev/null "http://127.0.0.1:$ENGINE_PORT/health"; then
    rm -f "$state/down-since"
    return 0
  fi
  [ -s "$state/down-since" ] || date +%s >"$state/down-since"
  if (($(date +%s) - $(cat "$state/down-since") > WARMUP_SECONDS)); then
    give_up "vLLM has been down for $WARMUP_SECONDS s"
    rm -f "$state/down-since"
  fi
}

look() {
  [ ! -d "$state/draining" ] || return 0
  if leaving; then
    /opt/meridian/bin/drain.sh scale-in
  elif imds spot/instance-action >/dev/null; then
    # Two minutes are left: shorter streams end well, longer ones are cut and resumed elsewhere.
    /opt/meridian/bin/drain.sh spot-notice
  else
    look_at_gpus
    look_at_engine
  fi
}

if [ "${1:-}" = --once ]; then
  look
  exit 0
fi
while sleep "$POLL_SECONDS"; do
  look || say "could not look"
done
