/**
 * Every limit, timeout and size of the router, in one place, with its unit in its name; those of the
 * request path are in bounds/. Relations that must hold between them are asserted at the end, so that a careless edit fails
 * at start and not in production.
 */

import { QUARANTINE_HERE_MS, RESUME_WITHIN_MS } from "./bounds/resume.ts";

export * from "./bounds/degrade.ts";
export * from "./bounds/relay.ts";
export * from "./bounds/resume.ts";

// --- Requests ---------------------------------------------------------------------------------------------
/** Largest body taken from a client. The isolate has 128 MB and holds bodies while it waits and retries. */
export const BODY_MAX_BYTES = 8 * 1024 * 1024;
/** Of a refused body this much more is read and thrown away, so that its sender gets to read the answer. */
export const DISCARD_MAX_BYTES = 2 * BODY_MAX_BYTES;
export const DISCARD_MAX_MS = 10_000;
/** Bodies that one isolate holds at once, all requests together; above it new ones are told to come back. */
export const BODIES_IN_FLIGHT_MAX_BYTES = 48 * 1024 * 1024;
/** A client has this long to send its body; a slower one holds memory that others need. */
export const BODY_READ_MAX_MS = 60_000;
/** Deepest nesting of a JSON body. Engines parse recursively; a deep body would crash them, not us. */
export const JSON_DEPTH_MAX = 64;
export const MESSAGES_MAX = 4_096;
export const TOOLS_MAX = 256;
export const STOP_STRINGS_MAX = 16;
export const STOP_STRING_MAX_CHARS = 1_024;
/** Choices per request: each is a sequence of its own on the GPU. */
export const CHOICES_MAX = 8;
export const TOP_LOGPROBS_MAX = 20;
export const EMBEDDING_INPUTS_MAX = 2_048;
export const RERANK_DOCUMENTS_MAX = 1_024;
export const OUTPUT_TOKENS_MAX = 1_048_576;
/** The context that any model is taken to have whose operator did not say; smaller budgets clamp its answers. */
export const CONTEXT_LEAST_TOKENS = 2_048;
export const MODEL_NAME_MAX_CHARS = 128;
export const USER_ID_MAX_CHARS = 512;

// --- Deadlines of a request -------------------------------------------------------------------------------
/** A request that has not started at an engine by then is given up: an origin token is valid that long. */
export const START_DEADLINE_MS = 60_000;
/** Longest life of one request, first byte to last. */
export const REQUEST_DEADLINE_MS = 15 * 60_000;
/** No first token for that long is a failure of the replica (limits of the breaker, DESIGN §6.5). */
export const FIRST_TOKEN_TIMEOUT_MS = 10_000;
/** Silence between two data frames that is taken for a frozen engine. Comments do not count as frames. */
export const TOKEN_GAP_TIMEOUT_MS = 20_000;
/** The edge waits this much longer than the gate for an answer, so that the gate's true status wins. */
export const EDGE_GRACE_MS = 2_000;
/** A tunnel drops a response after 120 s without a byte; the gate answers or bridges before that. */
export const GATE_ANSWER_MAX_MS = 90_000;
/** Origin calls for one request before its first byte, the first one included. */
export const ATTEMPTS_MAX = 3;

// --- Objects ----------------------------------------------------------------------------------------------
/** One call to an object. The runtime's own retries take up to 10 s, which is too long to wait for. */
export const OBJECT_CALL_TIMEOUT_MS = 5_000;
/** A snapshot of the directory older than that is refreshed before it is used. */
export const DIRECTORY_FRESH_MS = 2_000;
/** With a directory out of reach, its last snapshot is used for that long: fail static. */
export const DIRECTORY_STALE_MAX_MS = 10 * 60_000;
/** How often a directory that is being read asks the registry for a newer catalogue. */
export const CATALOGUE_POLL_MS = 3_000;
/** What a pool has learned of its model's prompts is written at most this often. */
export const LEARNED_SAVE_MS = 60_000;
/** Requests whose prompts a pool remembers to have learned from: a report that is sent again teaches nothing new. */
export const LEARNED_FROM_MAX = 10_000;
/** Counted prompts that one batch of a gate teaches a pool per model. */
export const COUNTED_PROMPTS_MAX = 64;
/** A directory's subscription to a pool ends that long after the last renewal. */
export const POOL_WATCH_TTL_MS = 30_000;
/** A pool tells its directories of changes at most this often. */
export const POOL_PUBLISH_MIN_GAP_MS = 1_000;
/** What the registry could not deliver is tried again after 1, 2, 4 … seconds, at most this long apart. */
export const OUTBOX_RETRY_MAX_MS = 60_000;
/** Keys that were refused, remembered in the isolate. Short: a new key must work within 10 s. */
export const DENIAL_CACHE_MS = 2_000;
export const DENIAL_CACHE_MAX = 4_096;
/** A refusal by rate, remembered in the isolate: a raised limit must be in force within 10 s. */
export const REFUSAL_CACHE_MAX_MS = 3_000;
/** Verified keys, remembered by their text. */
export const CALLER_CACHE_MAX = 4_096;
/** What an isolate knows of a tenant from its last reservation. */
export const PROFILE_FRESH_MS = 5_000;
export const PROFILE_CACHE_MAX = 10_000;

// --- Budgets ----------------------------------------------------------------------------------------------
/** Output tokens that admission reserves at first; the gate's reports extend it (DESIGN §5). */
export const FIRST_STEP_TOKENS = 256;
/** A running stream holds the tokens that it will use in this time, at its own pace. */
export const RESERVE_AHEAD_MS = 3_000;
export const RESERVE_AHEAD_MIN_TOKENS = 64;
/** A reservation that no gate ever reported on is void that long after its origin token expired. */
export const UNREPORTED_GRACE_MS = 30_000;
/** A running reservation that its gate has not reported on for that long is settled at what was reported. */
export const REPORT_SILENCE_MAX_MS = 60_000;
/** Closed reservations are kept this long, so that a repeated or late report settles nothing twice. */
export const RESERVATION_KEPT_MS = 2 * 60 * 60_000;
/** A usage ticket is honoured this long after it was issued. */
export const TICKET_VALID_MS = 90 * 60_000;
/** A lease ends that long after its last renewal left the holder; renewed at half of it while it is used. */
export const LEASE_TTL_MS = 10_000;
/**
 * A holder that was not heard of for this long cannot be admitting any more, by its own clock: the time to live, one
 * per cent of drift, and a step of the clock of up to 30 s.
 */
export const LEASE_WRITE_OFF_MS = LEASE_TTL_MS * 1.01 + 30_000;
/** An isolate asks a location's own budget object for that long after one said that it has or earns a lease. */
export const LEASE_HINT_MS = 30_000;
/**
 * Objects that share one location's requests of a tenant at most. Each is a lease holder that the home hears of every few
 * seconds, and eight serve more than one location's isolates bring today.
 */
export const SHARDS_MAX = 8;
/** Width of one slot of the day window; over-holds at most 0.35 % of a day (limits: sliding window). */
export const DAY_SLOT_MS = 5 * 60_000;
export const DAY_MS = 24 * 60 * 60_000;
/** Largest limit that an operator can set: levels are integers in units of 1/60,000 token below 2^53. */
export const LIMIT_MAX = 100_000_000_000;
/** What one token may weigh at most, in thousandths of a token of budget. */
export const WEIGHT_MAX = 1_000_000;
/** Days of per-key usage that a tenant's object keeps. */
export const USAGE_DAYS_KEPT = 400;

// --- Pools ------------------------------------------------------------------------------------------------
/** A permit that its holder does not extend comes back after that: covers hung and half-open peers only. */
export const PERMIT_TTL_MS = 60_000;
export const PERMIT_EXTEND_MS = 20_000;
/** Requests waiting for a permit in one pool object, and how long one waits at most. */
export const POOL_QUEUE_MAX = 1_000;
export const POOL_WAIT_MAX_MS = 20_000;
/** A replica that no gate has mentioned for that long takes no new work. */
export const HEARTBEAT_SILENCE_MAX_MS = 10_000;
/** After a restart a pool counts what the heartbeats say runs, until survivors have extended their permits. */
export const POOL_RECOVERY_MS = PERMIT_EXTEND_MS + 5_000;
/** Bodies that edges hold for those who wait at one pool object. */
export const POOL_QUEUE_MAX_BYTES = 256 * 1024 * 1024;
/** A held request is sent while fewer uncached tokens are ahead there: what is computed while the next is on its way. */
export const PREFILL_AHEAD_MAX_TOKENS = 512;
/** Tenants within so many weighted tokens are level, and the shortest prompt goes first: some 3 s of eight replicas. */
export const FAIR_SLACK_TOKENS = 262_144;
/** Share of a replica's KV memory that sent requests may take, by their prompt and expected output. */
export const KV_IN_FLIGHT_MAX = 0.9;
/** The same for `interactive`: above 0.95 a replica's breaker opens, and lengths are estimates. */
export const KV_IN_FLIGHT_INTERACTIVE_MAX = 0.92;
/** `batch` leaves that share for the more urgent, or as much as they were sent of late: alone it leaves nothing. */
export const KV_BATCH_LEAVES_MAX = 0.2;
/** Of late: some 25 s of eight replicas, so that a pause between two bursts does not give their room away. */
export const BAND_MIX_TOKENS = 2_097_152;
/** Text of one prefix block: about 128 tokens. Smaller ones cost more in every message and in the index. */
export const PREFIX_BLOCK_CHARS = 512;
/** Blocks named of one prompt: about 64,000 tokens, 4 KiB in a message. */
export const PREFIX_BLOCKS_MAX = 512;
/** Blocks that the index believes at one replica; 32 replicas of it take some 30 MB of the object's 128. */
export const PREFIX_INDEX_BLOCKS_MAX = 16_384;
/** Assumed size of a replica's prefix cache where its gate does not tell: 80 GB with a 8B model. Erring high. */
export const PREFIX_CACHE_DEFAULT_TOKENS = 400_000;
/** All indexes of one pool, written down; a row of an object's storage holds no more. */
export const PREFIX_SNAPSHOT_MAX_BYTES = 2 * 1024 * 1024;
/** How often indexes and speeds are written: what is lost is learned again from a minute of traffic. */
export const POOL_SAVE_MS = 60_000;
/** Requests whose placement is remembered until the gate tells how they fared. */
export const POOL_PLACED_MAX = 2_048;
/** Tenants whose share a pool remembers; one forgotten starts level with the least served that waits. */
export const FAIR_TENANTS_MAX = 4_096;
export const POOLS_MAX = 256;
export const GATES_PER_POOL_MAX = 8;

// --- Ranking of regions -----------------------------------------------------------------------------------
/** Regions whose predicted times differ by no more than this, or this share of the best, are as good as equal. */
export const NEAR_MS = 10;
export const NEAR_SHARE = 0.1;
/**
 * What is charged for a wait that nobody knows: more than two regions' round trips can differ on this planet, so a pool
 * that was never heard of comes after known ones with room; less than a queue that is worth the name.
 */
export const UNHEARD_WAIT_MS = 400;
/** A pool's word counts in full for this long: while it is read, a directory renews it every 10 s. */
export const STATE_TRUSTED_MS = 15_000;
/** No request waits longer than it may take to start. */
export const WAIT_MAX_MS = START_DEADLINE_MS;
/** Word of a pool that is older than this tells nothing; in between trust fades. */
export const STATE_UNKNOWN_MS = 30_000;
/** A longer "round trip" measured something else: a retransmission, a stalled clock. */
export const RTT_SAMPLE_MAX_MS = 2_000;
/** The distance counts as much as this many measured round trips. */
export const RTT_PRIOR_SAMPLES = 8;
/** Measured round trips count at most this much, so that a way that changed is soon believed. */
export const RTT_SAMPLES_MAX = 64;
/**
 * Trust in what was measured halves in this time without a new measurement. Else a region that was once measured slow
 * would get no request any more, and so never be measured again.
 */
export const RTT_HALF_LIFE_MS = 2 * 60_000;

/** Pools whose refusals an isolate remembers until the next snapshot. */
export const TURNED_MAX = 1_024;

// --- Gate and edge ----------------------------------------------------------------------------------------
/** One batch of usage and replica state leaves a gate this often while there is traffic. */
export const REPORT_INTERVAL_MS = 1_000;
/** Ended requests are reported sooner, but batches never leave closer together than this. */
export const REPORT_MIN_GAP_MS = 100;
/** While there is no traffic a gate still shows that its replicas live. */
export const REPORT_IDLE_INTERVAL_MS = 3_000;
export const REPORT_TIMEOUT_MS = 5_000;
export const REPORT_MAX_BYTES = 4 * 1024 * 1024;
export const REPORT_ENTRIES_MAX = 5_000;
/** Final reports that wait for an edge that is out of reach. The oldest is dropped above it, and counted. */
export const REPORT_BACKLOG_MAX = 100_000;
/** Clocks of edge and gate may differ by this much. */
export const CLOCK_SKEW_MAX_MS = 30_000;
/** How often a gate looks at its replicas' health and metrics. */
export const REPLICA_POLL_MS = 1_000;
export const REPLICA_POLL_TIMEOUT_MS = 2_000;
/** After an abort the gate reads what the engine had already sent for at most this long, to count it. */
export const ABORT_DRAIN_MS = 2_000;
/** A gate that is told to stop lets its streams run for at most this long. */
export const GATE_DRAIN_MS = 120_000;
/** The longest that a drained pool may let its streams run before it hands them over. */
export const POOL_DRAIN_MAX_MS = 60 * 60_000;
/** One server-sent event of an engine; a longer one is garbage. */
export const EVENT_MAX_BYTES = 4 * 1024 * 1024;
/** One whole JSON answer that is aggregated or relayed. */
export const ANSWER_MAX_BYTES = 64 * 1024 * 1024;

// --- Administration ---------------------------------------------------------------------------------------
export const ADMIN_BODY_MAX_BYTES = 64 * 1024;
export const PAGE_MAX = 200;
export const AUDIT_KEPT = 100_000;
/** While a key is rotated, the old one works this long unless the operator says otherwise. */
export const KEY_OVERLAP_DEFAULT_MS = DAY_MS;

// --- Upstash Redis (optional) -----------------------------------------------------------------------------
/** A request waits for Redis at most this long, flood guard and deny lists together; then it goes on without. */
export const REDIS_GUARD_TIMEOUT_MS = 200;
/** After Redis failed or was late, an isolate does without it this long, and then tries it in the background. */
export const REDIS_SKIP_MS = 5_000;
/** Any command is given up after this, also those that nobody waits for. */
export const REDIS_CALL_TIMEOUT_MS = 2_000;
export const FLOOD_WINDOW_MS = 10_000;
/** Requests per window from one client address with one key, unless FLOOD_REQUESTS_PER_10S says otherwise. */
export const FLOOD_REQUESTS_DEFAULT = 1_000;
/** Who was refused is refused again without asking Redis for this long: the sliding window frees up steadily. */
export const FLOOD_DENIAL_CACHE_MS = 1_000;
/** Deny lists older than this are read again in the background. */
export const LISTS_FRESH_MS = 3_000;
/** Deny lists older than this are read again before they are used. */
export const LISTS_IN_FORCE_MS = 8_000;
/** With Redis out of reach, the last lists stand this long; after that nobody is denied by them. */
export const LISTS_STALE_MAX_MS = 5 * 60_000;
/** Entries taken from the deny list; what is above denies nobody. */
export const LISTS_MEMBERS_MAX = 10_000;
/** Attempts whose usage one script adds: each is a handful of commands while nothing else runs in Redis. */
export const MIRROR_BATCH_MAX = 500;
/** Attempts that wait in an isolate for a Redis out of reach. The oldest is dropped above it, and counted. */
export const MIRROR_BACKLOG_MAX = 10_000;
/** What was seen of an attempt is kept this long, so that no late report is added twice. */
export const MIRROR_SEEN_KEPT_MS = RESERVATION_KEPT_MS;
/** Days of a tenant's totals that the mirror keeps, and those that are compared with the budget. */
export const MIRROR_DAYS_KEPT = 35;
export const MIRROR_DRIFT_DAYS = 2;
/** A drift beyond this share of a tenant's tokens, and beyond what streams report in seconds, is logged. */
export const MIRROR_DRIFT_ALARM_SHARE = 0.01;
export const MIRROR_DRIFT_ALARM_TOKENS = 10_000;
/** Each isolate that takes reports compares one tenant this often. */
export const DRIFT_CHECK_MS = 60_000;

function holds(relation: boolean, why: string): void {
  if (!relation) throw new Error(`bounds: ${why}`);
}

holds(BODY_MAX_BYTES <= BODIES_IN_FLIGHT_MAX_BYTES, "one body must fit into what an isolate may hold");
holds(FIRST_TOKEN_TIMEOUT_MS < START_DEADLINE_MS, "a replica is given up before the whole request is");
holds(REQUEST_DEADLINE_MS + START_DEADLINE_MS < TICKET_VALID_MS, "a ticket outlives the request it bills");
holds(TICKET_VALID_MS < RESERVATION_KEPT_MS, "a closed reservation outlives every ticket for it");
holds(PERMIT_EXTEND_MS * 2 < PERMIT_TTL_MS, "a permit survives one lost extension");
holds(DIRECTORY_FRESH_MS + CATALOGUE_POLL_MS < 10_000, "a change is in force everywhere within 10 s");
holds(
  POOL_WATCH_TTL_MS / 3 + DIRECTORY_FRESH_MS < STATE_TRUSTED_MS && STATE_TRUSTED_MS < STATE_UNKNOWN_MS,
  "the word of a pool that is well is never mistrusted",
);
holds(
  REPORT_INTERVAL_MS + CATALOGUE_POLL_MS + DIRECTORY_FRESH_MS < QUARANTINE_HERE_MS,
  "an isolate that saw engines die refuses by itself until all locations have the word",
);
holds(LIMIT_MAX * 60_000 < Number.MAX_SAFE_INTEGER, "levels stay exact integers");
holds(
  OUTPUT_TOKENS_MAX * CHOICES_MAX * WEIGHT_MAX < Number.MAX_SAFE_INTEGER,
  "one request's weight is exact",
);
holds(REPORT_INTERVAL_MS < RESERVE_AHEAD_MS, "a stream's reservation outlasts the gap between two reports");
holds(RESUME_WITHIN_MS < START_DEADLINE_MS, "an order to carry on is valid as long as it is tried");
holds(GATE_ANSWER_MAX_MS < 120_000, "the gate answers before the tunnel gives up");
holds(LISTS_FRESH_MS < LISTS_IN_FORCE_MS, "lists are read again before a request has to wait for them");
holds(LISTS_IN_FORCE_MS + REDIS_GUARD_TIMEOUT_MS < 10_000, "a denial is in force everywhere within 10 s");
holds(TICKET_VALID_MS < MIRROR_SEEN_KEPT_MS, "the mirror remembers an attempt as long as it can be reported");
holds(MIRROR_DRIFT_DAYS <= MIRROR_DAYS_KEPT, "the mirror still has the days that are compared");
