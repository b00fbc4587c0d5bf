/** Bounds of what happens when engines, gates and regions die or leave. Read through ../bounds.ts. */

// --- Resume: streams that outlive their replica ------------------------------------------------------------
/** Engines that may die with one request; after that nobody gets it any more. */
export const DEATHS_MAX = 2;
/** Times that one stream is handed over because something leaves. */
export const RESUMES_PER_STREAM_MAX = 8;
/** Replicas that are asked to carry one stream on, before it is given up. */
export const RESUME_CALLS_MAX = 3;
/** From the cut to the first byte of the rest; a client sees a pause, no more. */
export const RESUME_WITHIN_MS = 20_000;
/** Streams of a region that died do not come back all at once. */
export const RESUME_JITTER_MS = 400;
/** Wait before a pool that was full is asked again; jitter of the same size comes on top. */
export const RESUME_RETRY_MS = 250;
/** What was sent of one stream is kept up to here; a longer one is not carried on. About 9,000 tokens. */
export const RESUME_KEPT_MAX_BYTES = 2 * 1024 * 1024;
/** The same for all streams of an isolate. */
export const RESUME_KEPT_IN_FLIGHT_MAX_BYTES = 24 * 1024 * 1024;
/** How often what was sent is taken out of the runtime's buffer: one wake-up, whatever the number of events. */
export const RESUME_DRAIN_MS = 2_000;
/** Of a pool's capacity this share may begin to carry streams on within one window: new requests get the rest. */
export const RESUME_SHARE = 0.25;
export const RESUME_WINDOW_MS = 1_000;

// --- Quarantine: requests that may be why engines die -------------------------------------------------------
/** Deaths further apart than that have nothing to do with each other. */
export const QUARANTINE_WINDOW_MS = 10 * 60_000;
/** First time that a fingerprint is held; doubled each time that it is held again. */
export const QUARANTINE_MIN_MS = 5 * 60_000;
export const QUARANTINE_MAX_MS = 6 * 60 * 60_000;
/** How long after its end a hold still makes the next one longer. */
export const QUARANTINE_REMEMBER_MS = 24 * 60 * 60_000;
/** Of so many that were present at the same two deaths all are held: the one that kills, and who was beside it twice. */
export const QUARANTINE_BYSTANDERS_MAX = 8;
/** So many replicas of one pool that die within this time are an event of the place: one request kills two at most. */
export const QUARANTINE_WIDESPREAD_REPLICAS = 3;
export const QUARANTINE_WIDESPREAD_MS = 5_000;
/** Held fingerprints; they travel with the catalogue to every location. */
export const QUARANTINE_HELD_MAX = 256;
/** Fingerprints that were present at a death, and of these the newest that travel with the catalogue. */
export const QUARANTINE_SUSPECTS_MAX = 1_024;
export const QUARANTINE_WATCHED_MAX = 256;
/** Requests that one death may name: those without a token first. */
export const QUARANTINE_PRESENT_MAX = 256;
/** An isolate that saw two engines die with a request refuses it this long by itself: by then all have the word. */
export const QUARANTINE_HERE_MS = 10_000;
/** Engines of one gate that die within one batch, and requests cleared in it. */
export const DEATHS_PER_REPORT_MAX = 64;

if (RESUME_KEPT_MAX_BYTES > RESUME_KEPT_IN_FLIGHT_MAX_BYTES) {
  throw new Error("bounds: one stream fits into what may be kept");
}
