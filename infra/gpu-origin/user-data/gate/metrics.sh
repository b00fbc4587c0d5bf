#!/usr/bin/env bash
# Publishes what scaling and alarms need, from the gate's own numbers. Run each minute by a timer.
# shellcheck source-path=SCRIPTDIR source=../shared/lib.sh
. /opt/meridian/bin/lib.sh

text=$(curl -sf -m 5 "http://127.0.0.1:$GATE_PORT/metrics") || text=""
tunnel=$(curl -sf -m 5 http://127.0.0.1:2000/metrics | awk '$1 == "cloudflared_tunnel_ha_connections" { print $2 }') || tunnel=""

# Sum of all samples of a metric, optionally of those with a label.
total() {
  awk -v name="meridian_gate_$1" -v label="${2:-}" '
    { bare = $1; sub(/\{.*/, "", bare) }
    bare == name && index($0, label) { sum += $NF }
    END { printf "%d", sum }' <<<"$text"
}

requests=$(total replica_in_flight)
healthy=$(total replica_state 'state="healthy"')
ended=$(total requests_ended_total)
backlog=$(total report_backlog)

# Little's law: those beyond the replicas' places wait, and leave at the rate at which requests end. Only one gate's
# half is seen here, so the places are halved as well.
read -r before_at before <<<"$(cat "$state/ended" 2>/dev/null || echo "0 0")"
now=$(date +%s)
printf '%s %s\n' "$now" "$ended" >"$state/ended"
wait_seconds=$(awk -v open="$requests" -v places="$((healthy * CONCURRENCY))" -v seconds="$((now - before_at))" \
  -v done_count="$((ended - before))" 'BEGIN {
    waiting = open - places / 2
    if (waiting <= 0) { print 0; exit }
    if (seconds <= 0 || done_count <= 0) { print 60; exit }
    wait = waiting * seconds / done_count
    printf "%.3f", (wait > 600 ? 600 : wait) }')

data=()
add() {
  data+=("MetricName=$1,Value=$2,Unit=$3,Dimensions=[{Name=Pool,Value=$POOL_ID}]")
  data+=("MetricName=$1,Value=$2,Unit=$3,Dimensions=[{Name=Pool,Value=$POOL_ID},{Name=Gate,Value=$GATE_NAME}]")
}
# A gate that does not answer reports nothing but its tunnel: silence is what the alarms understand.
if [ -n "$text" ]; then
  add RequestsOpen "$requests" Count
  add HealthyReplicas "$healthy" Count
  add PredictedWaitSeconds "$wait_seconds" Seconds
  add ReportBacklog "$backlog" Count
fi
add TunnelConnections "${tunnel:-0}" Count
aws cloudwatch put-metric-data --namespace "$METRIC_SPACE" --metric-data "${data[@]}"
