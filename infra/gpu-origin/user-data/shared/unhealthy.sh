#!/usr/bin/env bash
# A service was restarted as often as makes sense: a new machine may do better.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. /opt/meridian/bin/lib.sh

give_up "${1:-a service} does not stay up"
