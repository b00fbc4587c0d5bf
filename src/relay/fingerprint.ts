import type { Catalogue } from "../catalogue.ts";
import { mac, sha256, toBase64Url } from "../contract/encoding.ts";
import type { JsonObject } from "../engine/endpoint.ts";
import { contentOf } from "../engine/fingerprint.ts";
import { FailureError } from "../errors.ts";
import type { Secrets } from "../secrets.ts";
import { count } from "../telemetry/metrics.ts";
import type { Exchange } from "./exchange.ts";
import { HeldHere } from "./held-here.ts";

/**
 * A request's fingerprint: 132 bits under a key that neither gates nor operators have. The same for all tenants, since
 * the same prompt may come from several; it tells nobody what was said.
 */
export async function fingerprintOfDigest(digest: string, { ticketKey }: Secrets): Promise<string> {
  return toBase64Url((await mac(ticketKey, `fingerprint\n${digest}`)).subarray(0, 16));
}

/** Reads the body once more, which is for the rare moments in which an engine has died. */
export async function fingerprintOf({ endpoint, bytes, secrets }: Exchange): Promise<string> {
  const body = JSON.parse(new TextDecoder().decode(bytes)) as JsonObject;
  return fingerprintOfDigest(toBase64Url(await sha256(contentOf(endpoint.id, body))), secrets);
}

/**
 * Refuses what is held in quarantine, and remembers who is under suspicion. Costs nothing while no engine has died of
 * late. Throws a `quarantined` failure.
 */
export async function guardQuarantine(
  exchange: Exchange,
  { quarantine }: Catalogue,
  here: HeldHere = heldHere,
): Promise<void> {
  const nowMs = Date.now();
  if (quarantine === undefined && here.empty(nowMs)) return;
  const fingerprint = await fingerprintOf(exchange);
  const held = quarantine?.held.find((one) => one.fingerprint === fingerprint)?.untilMs ?? 0;
  const untilMs = Math.max(held, here.untilMs(fingerprint, nowMs));
  if (untilMs > nowMs) {
    count("meridian_quarantine_refusals_total", {});
    throw new FailureError({ tag: "quarantined", retryAfterMs: untilMs - nowMs });
  }
  if (quarantine?.suspects.includes(fingerprint)) exchange.trace.suspect = fingerprint;
}

/** As many engines as may died with a request of this isolate: it is refused here until all locations have the word. */
export async function diedTooOften(exchange: Exchange): Promise<void> {
  heldHere.add(await fingerprintOf(exchange), Date.now());
}

const heldHere = new HeldHere();
