#!/usr/bin/env bash
# In service means: vLLM answers. Until then the scaling group waits.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

deadline=$((SECONDS + WARMUP_SECONDS + 480))
until curl -sf -m 5 -o /dev/null "http://127.0.0.1:$ENGINE_PORT/health"; do
  [ "$SECONDS" -lt "$deadline" ] || die "vLLM does not answer after $SECONDS s"
  sleep "$POLL_SECONDS"
done
touch "$state/serving"
say "serving after $SECONDS s"
finish_hook "$LAUNCH_HOOK"
