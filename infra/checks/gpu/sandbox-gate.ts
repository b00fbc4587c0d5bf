import { createHash } from "node:crypto";
import type { Case } from "./sandbox.ts";

const TOKEN = "dGhpcy1pcy1hLXR1bm5lbC10b2tlbi1mb3ItYS10ZXN0LW9ubHk=";
const SECRETS = '{"1":"a-secret-for-a-test-only"}';
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** A node archive cannot be made from text: the case's own lines make it, and its line of the list. */
const PROGRAMS = `mkdir -p /run/n/node/bin && echo node >/run/n/node/bin/node
mkdir -p /opt/world/s3/programs && tar -cf /opt/world/s3/programs/node.tar.xz -C /run/n node
node=$(sha256sum </opt/world/s3/programs/node.tar.xz | cut -d' ' -f1)
printf '%s\\n' "gate.mjs programs/gate.mjs ${sha256("bundle")}" "node.tar programs/node.tar.xz $node" \
  "cloudflared programs/cloudflared ${sha256("tunnel")}" >/opt/meridian/programs.list
`;

const good = {
  "parameters/tunnel-token": TOKEN,
  "parameters/gate-secrets": SECRETS,
  "s3/programs/gate.mjs": "bundle",
  "s3/programs/cloudflared": "tunnel",
};

const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));

const METRICS = `meridian_gate_replica_in_flight{replica="r-1"} 60
meridian_gate_replica_in_flight{replica="r-2"} 20
meridian_gate_replica_state{replica="r-1",state="healthy"} 1
meridian_gate_replica_state{replica="r-1",state="down"} 0
meridian_gate_replica_state{replica="r-2",state="healthy"} 1
meridian_gate_requests_ended_total{outcome="complete"} 300
meridian_gate_requests_ended_total{outcome="failed"} 20
meridian_gate_report_backlog 7
`;

export const GATE_CASES: readonly Case[] = [
  {
    name: "gate prepared",
    role: "gate",
    world: good,
    run: `${PROGRAMS}$bin/prepare.sh
stat -c 'mode %a' /run/meridian/secrets/tunnel-token
cat /run/meridian/secrets/tunnel-token /run/meridian/secrets/gate-secrets
test -x /opt/meridian/cloudflared && test -e /opt/meridian/node/bin/node`,
    status: 0,
    prints: [/prepared/, /mode 600/, new RegExp(TOKEN), /a-secret-for-a-test-only/],
    // Arguments are shown to every process.
    never: [new RegExp(TOKEN), /a-secret-for-a-test-only/],
  },
  {
    name: "token missing",
    role: "gate",
    world: without("parameters/tunnel-token"),
    run: `${PROGRAMS}$bin/prepare.sh`,
    status: 1,
    prints: [/tunnel-token cannot be read/],
    never: [/s3 cp/],
  },
  {
    name: "token empty",
    role: "gate",
    world: { ...good, "parameters/tunnel-token": "" },
    run: `${PROGRAMS}$bin/prepare.sh`,
    status: 1,
    prints: [/tunnel-token is empty/],
  },
  {
    name: "token is something else",
    role: "gate",
    world: { ...good, "parameters/tunnel-token": "<html>not a token, but long enough to be one</html>" },
    run: `${PROGRAMS}$bin/prepare.sh; ls /run/meridian/secrets`,
    status: 1,
    prints: [/the tunnel token is not one/],
  },
  {
    name: "gate secrets are no JSON",
    role: "gate",
    world: { ...good, "parameters/gate-secrets": "just-a-secret-string-of-some-length" },
    run: `${PROGRAMS}$bin/prepare.sh`,
    status: 1,
    prints: [/not JSON of version to secret/],
  },
  {
    name: "bundle is another one",
    role: "gate",
    world: { ...good, "s3/programs/gate.mjs": "something else" },
    run: `${PROGRAMS}$bin/prepare.sh || code=$?
test ! -e /opt/meridian/gate.mjs && exit $code`,
    status: 1,
    prints: [/checksum of programs\/gate.mjs is not the pinned one/],
  },
  {
    name: "gate in service",
    role: "gate",
    world: { "gate-up": "" },
    run: "$bin/serving.sh",
    status: 0,
    calls: [
      /complete-lifecycle-action --lifecycle-hook-name serving .*meridian-us-east-chat-gate-a.* CONTINUE/,
    ],
  },
  {
    name: "gate leaves, tunnel first",
    role: "gate",
    world: { "imds/autoscaling/target-lifecycle-state": "Terminated" },
    run: "$bin/watch.sh --once; $bin/watch.sh --once",
    status: 0,
    calls: [
      /systemctl stop meridian-cloudflared/,
      /systemctl stop meridian-gate/,
      /complete-lifecycle-action --lifecycle-hook-name drain/,
    ],
    never: [/(systemctl stop meridian-gate[\s\S]*){2}/],
  },
  {
    name: "gate metrics",
    role: "gate",
    world: { "gate-metrics": METRICS, "tunnel-metrics": "cloudflared_tunnel_ha_connections 4\n" },
    // 80 open; 2 replicas of 32 places, of which half are this gate's: 48 wait; 80 ended in 60 s: 36 s.
    run: `mkdir -p /run/meridian; echo "$(($(date +%s) - 60)) 240" >/run/meridian/ended; $bin/metrics.sh`,
    status: 0,
    calls: [
      /MetricName=RequestsOpen,Value=80,.*MetricName=HealthyReplicas,Value=2,.*PredictedWaitSeconds,Value=3[5-6]\.\d+,.*ReportBacklog,Value=7,.*TunnelConnections,Value=4,/,
    ],
  },
  {
    name: "silent gate",
    role: "gate",
    world: {},
    run: "$bin/metrics.sh",
    status: 0,
    calls: [/TunnelConnections,Value=0/],
    never: [/HealthyReplicas/],
  },
];
