#!/usr/bin/env bash
# Ends the replica without losing a stream: SIGTERM lets vLLM finish what runs (--shutdown-timeout) and refuse what
# comes, which the gates understand at the first refusal. Called once, whatever the reason.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

mkdir "$state/draining" 2>/dev/null || exit 0
say "drain: $1"
# Waits until the last stream has ended, or for the unit's TimeoutStopSec.
systemctl stop meridian-vllm.service
say "drained"
finish_hook "$TERMINATE_HOOK"
