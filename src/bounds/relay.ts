/** Bounds of waiting, of second tries, and of what a request tells a pool (docs/queueing.md). */

/** Shortest time to a first token that a client may insist on: below it, no network and no engine could make it. */
export const FIRST_TOKEN_DEADLINE_MIN_MS = 50;
/** A client's name for its conversation (`x-meridian-session`). */
export const SESSION_MAX_CHARS = 256;
/** Output that a request is expected to take where nothing says less: the median of a real conversation trace. */
export const OUTPUT_TOKENS_EXPECTED = 350;
/**
 * A stream's client has heard nothing for this long: it is answered with comments, before whatever is between it and
 * here takes the connection for dead. Proxies and platforms drop a silent one after 30 to 60 s; until then a true status
 * and another region stay possible.
 */
export const SILENT_STREAM_MAX_MS = 15_000;
/** The same for one JSON. Its clients expect to wait, and after the first white space no error has a status. */
export const SILENT_JSON_MAX_MS = 50_000;
/** A client that was answered before there was an answer hears from the edge this often. */
export const SIGN_OF_LIFE_MS = 10_000;
/** Retries may be this share of a model's requests in an isolate's last window, and this many beside. */
export const RETRY_SHARE = 0.1;
export const RETRY_FLOOR = 30;
export const RETRY_WINDOW_MS = 10_000;
/** Models that an isolate keeps retry budgets and first-token times of. */
export const MODELS_SEEN_MAX = 512;
/** A pool that does not say how long a request will be held is taken to hold it this long. */
export const UNKNOWN_WAIT_MS = 2_000;
/** First tokens seen before one is called late, how many of them count, and the least wait before a second call. */
export const HEDGE_SAMPLES_MIN = 20;
export const HEDGE_SAMPLES_KEPT = 128;
export const HEDGE_AFTER_MIN_MS = 50;

/** Replicas that one pool object should carry: its prefix indexes take most of its memory. */
export const CELL_REPLICAS_MAX = 32;
/** Cells of a pool that one request asks before it goes to the next region. */
export const CELLS_ASKED_MAX = 2;

/** A pool's object while another pool could be asked: six times the longest round trip, and a start of the object. */
export const ACQUIRE_TIMEOUT_MS = 2_000;
/** How often a pool's object is asked anew in one wait: each time it broke the session, as a restart does. */
export const ASKED_ANEW_MAX = 3;
/** What could not be reached is tried by one request of an isolate in this time. */
export const UNREACHED_RETRY_MS = 5_000;
/** Objects and pools that an isolate remembers not to have reached. */
export const UNREACHED_MAX = 1_024;

function holds(relation: boolean, why: string): void {
  if (!relation) throw new Error(`bounds: ${why}`);
}

holds(SILENT_STREAM_MAX_MS < 30_000 && SILENT_JSON_MAX_MS < 60_000, "clients hear before they give up");
holds(HEDGE_SAMPLES_MIN <= HEDGE_SAMPLES_KEPT, "enough is kept to know what is late");
