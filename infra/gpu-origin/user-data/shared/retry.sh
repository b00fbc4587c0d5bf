#!/usr/bin/env bash
# retry.sh NAME: runs NAME.sh until it succeeds, with longer and longer breaks, RETRIES times at most.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. /opt/meridian/bin/lib.sh

pause=$RETRY_SECONDS
for ((try = 1; try <= RETRIES; try++)); do
  if "/opt/meridian/bin/$1.sh"; then exit 0; fi
  [ "$try" -lt "$RETRIES" ] || break
  say "$1: try $try failed, again in $pause s"
  sleep "$pause"
  pause=$((pause * 2))
done
die "$1 failed $RETRIES times"
