import type { PositionSource } from "../routing/geo.ts";
import { type Candidate, mayAsk } from "../routing/rank.ts";

/**
 * Why a request went where it went: an item of RFC 9651, as in `fastest;from=country;rtt=12;place=1;of=3`. Nothing in it
 * depends on what other tenants do beyond the choice itself: waits, headroom and shares are for `explain`.
 */
export function routeHeader(
  from: PositionSource,
  candidates: readonly Candidate[],
  chosen: Candidate,
): string {
  const asked = candidates.filter(mayAsk);
  const place = asked.findIndex(({ pool }) => pool.id === chosen.pool.id) + 1;
  const isFastest = asked.every(({ predictedMs }) => chosen.predictedMs <= predictedMs);
  const why = place > 1 ? "next" : isFastest ? "fastest" : "shared";
  return `${why};from=${from};rtt=${Math.round(chosen.rtt.usedMs)};place=${place};of=${asked.length}`;
}
