#!/usr/bin/env bash
# In service means: the gate takes requests and the tunnel is up.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

deadline=$((SECONDS + 600))
until curl -sf -m 5 -o /dev/null "http://127.0.0.1:$GATE_PORT/health" &&
  curl -sf -m 5 -o /dev/null http://127.0.0.1:2000/ready; do
  [ "$SECONDS" -lt "$deadline" ] || die "gate or tunnel do not answer after $SECONDS s"
  sleep "$POLL_SECONDS"
done
say "serving after $SECONDS s"
finish_hook "$LAUNCH_HOOK"
