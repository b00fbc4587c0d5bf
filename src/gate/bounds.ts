import {
  ABORT_DRAIN_MS,
  CLOCK_SKEW_MAX_MS,
  GATE_ANSWER_MAX_MS,
  REPORT_TIMEOUT_MS,
  START_DEADLINE_MS,
} from "../bounds.ts";

/** Limits that concern nobody but the gate. What edge and gate share is in ../bounds.ts. */

/** Opening a connection to a replica in the same network; longer means that its host is gone. */
export const CONNECT_TIMEOUT_MS = 2_000;
/** Looking whether an engine that broke a connection off is still there; the stream's cut waits for it. */
export const GONE_CHECK_MS = 200;
export const GONE_AGAIN_MS = 60;
/** Requests that fail within this time at one replica were there when it died, if it died. */
export const DEATH_SETTLE_MS = 300;
/** uvicorn closes an idle connection after 5 s; the gate drops its own before, so as not to race it. */
export const ENGINE_IDLE_SOCKET_MS = 4_000;
/** An error body of an engine; what is longer is cut off. */
export const ENGINE_ERROR_MAX_BYTES = 64 * 1024;
/** How often an answer that is late keeps its connection alive, once it was bridged. */
export const BRIDGE_INTERVAL_MS = 15_000;
/** The edge may take this long to read the end of an answer, before its connection is closed. */
export const EDGE_FLUSH_MAX_MS = 30_000;
/** Counting a prompt at the replica's /tokenize when its client left before the first token. */
export const TOKENIZE_TIMEOUT_MS = 1_000;
/** Prompts being counted at once; above it the estimate is charged. */
export const TOKENIZE_IN_FLIGHT_MAX = 64;
/** An order can be replayed until its token expires, with the edge's clock ahead by the allowed skew. */
export const REPLAY_WINDOW_MS = START_DEADLINE_MS + CLOCK_SKEW_MAX_MS;
/** Orders remembered per window. Full means new orders are refused: forgetting one would let it be replayed. */
export const REPLAY_MAX = 500_000;
/** A replica that refused a chat because it drains is tried again after that, if it still claims health. */
export const REPLICA_DRAINING_MS = 30_000;
/** Health checks that time out one after the other before a replica is down. A refusal counts at once. */
export const POLL_TIMEOUTS_UNTIL_DOWN = 3;
/** A stream on a replica that no longer accepts connections may be silent for this long, not longer. */
export const GONE_REPLICA_GAP_MS = 3_000;
/** The system's resolver has no deadline of its own that could be set. */
export const RESOLVE_TIMEOUT_MS = 10_000;
/** How often a gate looks for streams that are due to be handed over, while something leaves. */
export const MOVE_LOOK_MS = 100;
/** Prometheus text of one engine. */
export const METRICS_TEXT_MAX_BYTES = 4 * 1024 * 1024;
/** First and largest wait before a report that failed is sent again; jitter comes on top. */
export const REPORT_BACKOFF_MIN_MS = 250;
export const REPORT_BACKOFF_MAX_MS = 2_000;
/** A gate that leaves waits this long for the edge to take its last reports. */
export const LAST_REPORTS_MS = 2 * REPORT_TIMEOUT_MS;
/** Idle connections from the edge's tunnel are kept longer than the tunnel keeps them. */
export const EDGE_IDLE_SOCKET_MS = 100_000;
/** Connections from the edge's tunnels, one for each request under way. */
export const CONNECTIONS_MAX = 32_768;
/** An edge that vanished without a word is looked for after that. */
export const EDGE_PROBE_MS = 30_000;
/** Bodies of open requests, all together: each is kept until the engine has told what its prompt costs. */
export const BODIES_HELD_MAX_BYTES = 512 * 1024 * 1024;
/** Replica × model pairs in one batch of tallies (contract/report.ts). */
export const TALLIES_MAX = 4_096;
/** One call to the cloud's API or to the machine's metadata service. */
export const CLOUD_CALL_TIMEOUT_MS = 5_000;
/** Answers of the cloud's API: a page, in characters, and pages of one list. */
export const CLOUD_ANSWER_MAX_CHARS = 16 * 1024 * 1024;
export const CLOUD_PAGES_MAX = 20;
/** A role's credentials are renewed this long before they end; AWS has new ones five minutes before. */
export const CREDENTIALS_RENEW_MS = 4 * 60_000;
/** While discovery fails, the last list is kept; who has been down for this long is then taken off it all the same. */
export const UNSEEN_REPLICA_KEPT_MS = 10 * 60_000;
/** Replicas in one report (contract/report.ts). */
export const REPLICAS_MAX = 512;

function holds(relation: boolean, why: string): void {
  if (!relation) throw new Error(`gate bounds: ${why}`);
}

holds(BRIDGE_INTERVAL_MS < GATE_ANSWER_MAX_MS, "a bridged answer stays alive");
holds(REPORT_BACKOFF_MIN_MS < REPORT_BACKOFF_MAX_MS, "back-off grows");
holds(TOKENIZE_TIMEOUT_MS + ABORT_DRAIN_MS < LAST_REPORTS_MS, "a late bill makes it into the last report");
