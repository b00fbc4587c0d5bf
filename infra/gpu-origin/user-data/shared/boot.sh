#!/usr/bin/env bash
# Run once by cloud-init, when all files are written.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. /opt/meridian/bin/lib.sh

install -d -m 0755 /var/log/meridian
systemctl daemon-reload
# Logs first, so that a failure of the rest can be read. A node without them still serves.
if [ ! -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl ] && command -v dnf >/dev/null; then
  dnf install -y -q amazon-cloudwatch-agent || say "no log agent"
fi
/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c "file:$base/logs.json" ||
  say "logs stay on this machine"
# --no-block: preparing takes minutes, and cloud-init has a time limit of its own.
# shellcheck disable=SC2153 # from the settings
read -ra units <<<"$UNITS"
systemctl enable --now --no-block "${units[@]}"
