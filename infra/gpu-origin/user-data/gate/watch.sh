#!/usr/bin/env bash
# Leaves without losing a stream when the scaling group says so. With --once it looks once.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

leave() {
  mkdir "$state/draining" 2>/dev/null || return 0
  say "drain"
  # The tunnel first: Cloudflare then sends new requests to the other gate, and cloudflared waits for those that
  # run. The other way round, new requests would meet a gate that refuses.
  systemctl stop meridian-cloudflared.service
  systemctl stop meridian-gate.service
  finish_hook "$TERMINATE_HOOK"
}

if [ "${1:-}" = --once ]; then
  if leaving; then leave; fi
  exit 0
fi
while sleep "$POLL_SECONDS"; do
  if leaving; then leave; fi
done
