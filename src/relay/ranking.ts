import type { Model } from "../catalogue.ts";
import type { Position } from "../routing/geo.ts";
import type { Band, Work } from "../routing/messages.ts";
import { type Candidate, drawn, rank } from "../routing/rank.ts";
import type { Exchange } from "./exchange.ts";
import { turnedSince } from "./turned.ts";
import type { View } from "./view.ts";

/** Of a request, what its ranking depends on. */
export interface RankFor {
  readonly client: Position;
  /** Regions that the tenant's requests may run in; null: any. */
  readonly regions: readonly string[] | null;
  readonly band: Band;
  readonly promptTokens: number;
}

/** The ranking that such a request would get now, as far as it does not hang on chance. */
export function rankNow(view: View, model: Model, asked: RankFor): Candidate[] {
  const nowMs = Date.now();
  const { pools } = view.catalogue;
  const turned = turnedSince(pools, model.id, view.atMs, nowMs);
  return rank({ ...asked, model, pools, states: view.pools, rtts: view.rtts, turned, nowMs });
}

/** The pools that serve the model, in the order in which this request asks them. */
export function rankFor(
  { client }: Exchange,
  view: View,
  model: Model,
  regions: readonly string[] | null,
  { band, promptTokens }: Work,
): Candidate[] {
  return drawn(rankNow(view, model, { client, regions, band, promptTokens }), Math.random);
}
