import { bandOf, DEFAULT_BANDS, type Model } from "../catalogue.ts";
import { estimatePromptTokens, promptBasis } from "../limits/estimate.ts";
import type { TenantProfile } from "../limits/messages.ts";
import type { Work } from "../routing/messages.ts";
import type { Exchange } from "./exchange.ts";
import { expectedOutputTokens, tokensPerBlock } from "./forecast.ts";
import type { View } from "./view.ts";

/** What a request will cost a pool and whom it serves: sizes and salted names, nothing of its text. */
export function workOf(exchange: Exchange, model: Model, view: View, { bands }: TenantProfile): Work {
  const { call, prompt, asked, startedAtMs } = exchange;
  const promptTokens = estimatePromptTokens(promptBasis(call), view.learned.get(model.id));
  const withinMs = asked.firstTokenWithinMs ?? model.firstTokenTargetMs ?? null;
  return {
    promptTokens,
    outputTokens: expectedOutputTokens(call),
    blocks: prompt.blocks,
    blockTokens: tokensPerBlock(promptTokens, prompt.chars),
    tenant: exchange.claims.tenantRef,
    band: bandOf(asked.band, bands ?? DEFAULT_BANDS),
    session: exchange.session,
    firstTokenByMs: withinMs === null ? null : startedAtMs + withinMs,
    bytes: exchange.bytes.length,
  };
}
