import { COUNTED_PROMPTS_MAX } from "../bounds.ts";
import type { CountedPrompt } from "../contract/prompt-basis.ts";
import type { UsageReport } from "../contract/report.ts";
import type { UsageTicket } from "../contract/usage-ticket.ts";
import type { Served } from "../routing/messages.ts";

/** One entry of a gate's batch whose ticket is genuine. */
export interface Ticketed {
  readonly ticket: UsageTicket;
  readonly entry: UsageReport;
  readonly index: number;
}

/**
 * What one batch teaches of a model's prompts: those whose tokens an engine has counted. One a tenant and class of text,
 * so that a tenant's say does not grow with its traffic and nobody alone moves what all others reserve.
 */
export function countedPrompts(entries: readonly Ticketed[], model: string): CountedPrompt[] {
  const chosen = new Map<string, CountedPrompt>();
  for (const { ticket, entry } of entries) {
    const { basis, requestId, tenantRef } = ticket;
    // A later attempt may go on where the one before broke off, and is not the prompt that was measured.
    const isCounted = entry.final && !entry.estimated && ticket.attempt === 0;
    if (basis === null || ticket.model !== model || !isCounted || entry.usage.promptTokens === 0) continue;
    const place = `${tenantRef} ${basis.textClass}`;
    if (chosen.has(place) || chosen.size >= COUNTED_PROMPTS_MAX) continue;
    chosen.set(place, { requestId, basis, promptTokens: entry.usage.promptTokens });
  }
  return [...chosen.values()];
}

/** How prompts of one model fared at their replicas, as engines counted them: one entry for each attempt that ended. */
export function servedPrompts(entries: readonly Ticketed[], model: string): Served[] {
  const served = new Map<string, Served>();
  for (const { ticket, entry } of entries) {
    const { promptTokens, cachedTokens } = entry.usage;
    if (ticket.model !== model || !entry.final || entry.estimated || promptTokens === 0) continue;
    const id = `${ticket.requestId}/${ticket.attempt}`;
    served.set(id, { id, promptTokens, cachedTokens, firstTokenMs: entry.firstTokenMs ?? null });
  }
  return [...served.values()];
}
